// Package architecture tests which package of this module may import which, and how
// large types, functions and files may be. Its table of rooms is the one that
// docs/architecture.md explains.
package architecture
