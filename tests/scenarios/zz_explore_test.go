package scenarios
import ("testing";"time";"fmt";"os";"net/netip";"github.com/wasmesh/wasmesh/tests/rig")
func TestZZ(t *testing.T){
 t0:=time.Now()
 programs, err := rig.Build(t.Context(), t.TempDir(), tools()); if err!=nil{t.Fatal(err)}
 fmt.Println("build",time.Since(t0)); t0=time.Now()
 newWazero(t.Context(), programs.Module)
 fmt.Println("wazero",time.Since(t0)); t0=time.Now()
 e:=startEnvoy(t,programs)
 fmt.Println("mesh",time.Since(t0))
 all,_:=readScenarios()
 get:=func(n string) stage { for _,s:=range all { if s.name==n { st,err:=setStage(t.TempDir(),s); if err!=nil{t.Fatal(err)}; return st } }; t.Fatal(n); return stage{} }
 a,b:=get("only-an-http-route"),get("deny-by-default")
 stale:=0; var total time.Duration
 for i:=0;i<60;i++ {
  st:=a; want:=200; if i%2==1 {st=b; want=403}
  t0:=time.Now()
  if err:=e.begin(t.Context(),st);err!=nil{t.Fatal(err)}
  total+=time.Since(t0)
  for _,port:=range []uint16{15002,14001} {
   r:=request{from:"bookbuyer",to:"bookstore",port:port,method:"GET",target:"/books"}
   c,err:=callOf(st.snapshot,r); if err!=nil{t.Fatal(err)}
   for k:=0;k<3;k++ { s,err:=send(t.Context(), netip.AddrPortFrom(c.caller.AddressOf(c.service), port), r, "z"); if s!=want||err!=nil { stale++; fmt.Println("stale",i,port,k,s,err) } }
  }
 }
 fmt.Println("stale",stale,"mean apply",total/60)
 e.begin(t.Context(),get("match-with-only-a-name"))
 w:=a.snapshot.Workloads[0].Name
 show:=func(){ m,_:=e.mesh.Stats(t.Context(),w,`14001.upstream_(cx_total|cx_destroy|rq_total|rq_rx_reset|cx_destroy_remote.*)$`); for k,v:=range m { if v>0 {fmt.Println("  ",k,v)} }
  m,_=e.mesh.Stats(t.Context(),a.snapshot.Workloads[3].Name,`rx_messaging_error|http.inbound.*downstream_cx_(total|protocol)|dropped_headers`); for k,v:=range m { if v>0 {fmt.Println("  srv",k,v)} } }
 for _,h:=range []string{"ok","user@a","ok","","ok"} {
  show()
  to:=netip.AddrPortFrom(netip.MustParseAddr("127.71.0.0"),1); _=to
  r:=request{from:"bookbuyer",to:"bookstore",port:14001,method:"GET",target:"/books"}
  c,_:=callOf(a.snapshot,r)
  hs,_:=parseHeader("host: "+h); r.headers=append(r.headers,hs)
  s,err:=send(t.Context(), netip.AddrPortFrom(c.caller.AddressOf(c.service), 14001), r, "z")
  fmt.Println("host",h,s,err)
 }
 show()
 _=os.Stdout
}
