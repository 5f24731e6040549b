// Package checked says whether a program was built with the race detector or with
// AddressSanitizer, for tests that compute the same with many sets of kernels: under these
// a few of them do. All run without, and the kernels' own test runs them all under sanitizers.
package checked

// On reports whether one of them checks the program.
const On = race || address

// Few is the first and the last of what a test would go through where one of them checks
// the program, and else all.
func Few[T any](all []T) []T {
	if On && len(all) > 2 {
		return []T{all[0], all[len(all)-1]}
	}
	return all
}
