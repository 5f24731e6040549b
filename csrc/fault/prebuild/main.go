// Command prebuild compiles the plugins of package fault for tests that run
// where no compiler does:
//
//	CXX=x86_64-w64-mingw32-g++-posix go run ./csrc/fault/prebuild -o FOLDER -ending .dll
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sdgo/sdgo/csrc/fault"
)

func main() {
	folder := flag.String("o", "", "the folder, which is made")
	ending := flag.String("ending", fault.Ending(), "of the files' names, .dll for Windows")
	flag.Parse()
	if err := fault.Prebuild(*folder, *ending); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
