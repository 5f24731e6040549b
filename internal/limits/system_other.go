//go:build !linux && !darwin && !windows

package limits

// Nothing is known here.
var this = system{
	rlimits: func() rlimits { return rlimits{Unlimited, Unlimited, Unlimited} },
}
