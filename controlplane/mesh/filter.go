package mesh

// Filter is a module of a user that a workload's requests pass before the
// policy judges them.
type Filter struct {
	// Name is that of the object that attaches it.
	Name Name
	// Image holds the module: a registry's or a layout's, with the digest of its
	// manifest. Module is the sha256 of the module itself. Both are empty if the
	// object cannot be used: then the filter does not run, and Pass says what
	// that means.
	Image, Module string
	// Configuration is given to the module as it is.
	Configuration string
	// Pass lets requests through while the filter cannot run. Else they are
	// refused.
	Pass bool
}
