package policy

// Authority reads a :authority or host value as it is compared: without port,
// without trailing dot, in lower case (smi-rules 47).
func Authority(value string) string {
	end := len(value)
	for i := len(value) - 1; i >= 0 && value[i] != ']'; i-- {
		if value[i] == ':' {
			end = i
			break
		}
		if value[i] < '0' || value[i] > '9' {
			break
		}
	}
	value = value[:end]
	if n := len(value); n > 0 && value[n-1] == '.' {
		value = value[:n-1]
	}
	return lower(value)
}

func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// trim drops spaces and tabs around a header value, as HTTP reads it.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
