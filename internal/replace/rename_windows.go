package replace

import "golang.org/x/sys/windows"

// renameNew gives a file a name that nothing has. (os.Rename replaces what is there.)
func renameNew(from, to string) error {
	a, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	b, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	return windows.MoveFileEx(a, b, 0)
}
