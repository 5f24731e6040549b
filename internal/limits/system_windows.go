package limits

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var this = system{
	rlimits: func() rlimits { return rlimits{Unlimited, Unlimited, Unlimited} },
	more: func(least func(amount uint64, by string)) {
		least(freeMemory(), ByHost)
		least(jobMemory(), ByJob)
	},
}

var globalMemoryStatusEx = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

// freeMemory is MEMORYSTATUSEX's ullAvailPhys, or ullAvailPageFile if that is less.
func freeMemory() uint64 {
	var status struct {
		length, load                                    uint32
		totalPhys, availPhys                            uint64
		totalPage, availPage, totalVirtual, freeVirtual uint64
		extended                                        uint64
	}
	status.length = uint32(unsafe.Sizeof(status))
	if ok, _, _ := globalMemoryStatusEx.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return Unlimited
	}
	return min(status.availPhys, status.availPage)
}

// jobMemory is the memory limit of the process's job, for a process or for all of its
// processes. A process cannot find out how much of it is used.
func jobMemory() uint64 {
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	err := windows.QueryInformationJobObject(0, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)), nil)
	if err != nil { // it is in none
		return Unlimited
	}
	limit := uint64(Unlimited)
	if info.BasicLimitInformation.LimitFlags&windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY != 0 {
		limit = min(limit, uint64(info.ProcessMemoryLimit))
	}
	if info.BasicLimitInformation.LimitFlags&windows.JOB_OBJECT_LIMIT_JOB_MEMORY != 0 {
		limit = min(limit, uint64(info.JobMemoryLimit))
	}
	return limit
}
