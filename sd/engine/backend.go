package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/cgo"
)

// Roles of networks. [Options.Backend] can give each role its own device.
const (
	RoleText     = "text"    // text encoders
	RoleDenoiser = "unet"    // the denoiser, UNet or not
	RoleVAE      = "vae"     // the autoencoder: encoder and decoder
	RoleUpscale  = "upscale" // upscalers
)

var roles = []string{RoleText, RoleDenoiser, RoleVAE, RoleUpscale}

// auto selects the best device of the machine.
const auto = "auto"

// CheckBackend checks an [Options.Backend]: its syntax, and that this machine has the
// devices.
func CheckBackend(text string) error {
	_, err := parseBackend(text)
	return err
}

// backend is the device of each role; nil for auto.
type backend map[string]*cgo.DeviceInfo

// parseBackend parses an Options.Backend: one name for all roles, or role=name pairs.
func parseBackend(text string) (backend, error) {
	b := backend{}
	if !strings.Contains(text, "=") {
		d, err := findDevice(text)
		for _, role := range roles {
			b[role] = d
		}
		return b, err
	}
	for _, one := range strings.Split(text, ",") {
		role, name, ok := strings.Cut(strings.TrimSpace(one), "=")
		if _, twice := b[role]; !ok || twice || !slices.Contains(roles, role) {
			return nil, fmt.Errorf("backend %q: it must name one device for each part, as in unet=vulkan0,text=cpu,vae=cpu; the parts are %s",
				one, strings.Join(roles, ", "))
		}
		d, err := findDevice(name)
		if err != nil {
			return nil, err
		}
		b[role] = d
	}
	return b, nil
}

// findDevice finds a device by its name; it returns nil for auto.
func findDevice(name string) (*cgo.DeviceInfo, error) {
	if name == "" || strings.EqualFold(name, auto) {
		return nil, nil
	}
	if strings.EqualFold(name, "cpu") { // needs no plugins, which take time to load
		d, err := cpu()
		return &d, err
	}
	names := []string{auto}
	for _, d := range cgo.Devices() {
		if strings.EqualFold(name, d.Name) {
			return &d, nil
		}
		names = append(names, strings.ToLower(d.Name))
	}
	text := fmt.Sprintf("backend must be one of %s, got %q", strings.Join(names, ", "), name)
	for _, p := range cgo.Plugins() {
		if p.Err != nil {
			text += fmt.Sprintf(" (%s does not load: %v)", p.Path, p.Err)
		}
	}
	return nil, fmt.Errorf("%s", text)
}

func cpu() (cgo.DeviceInfo, error) {
	for _, d := range cgo.LinkedDevices() {
		if d.Kind == cgo.CPU {
			return d, nil
		}
	}
	return cgo.DeviceInfo{}, fmt.Errorf("ggml has no CPU device")
}

// candidates are the devices that auto tries, best first: discrete GPUs, then
// integrated ones, then the CPU. If two plugins have the same GPU, the vendor's comes
// before Vulkan's. Software drivers are left out, because the CPU is faster.
func candidates(all []cgo.DeviceInfo) []cgo.DeviceInfo {
	var out []cgo.DeviceInfo
	for _, d := range all {
		if (d.Kind == cgo.GPU || d.Kind == cgo.IGPU || d.Kind == cgo.CPU) && !d.Software {
			out = append(out, d)
		}
	}
	rank := func(d cgo.DeviceInfo) int {
		switch vulkan := strings.HasPrefix(d.Name, "Vulkan"); {
		case d.Kind == cgo.CPU:
			return 4
		case d.Kind == cgo.IGPU && vulkan:
			return 3
		case d.Kind == cgo.IGPU:
			return 2
		case vulkan:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b cgo.DeviceInfo) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		switch { // the one with more free memory
		case a.Free > b.Free:
			return -1
		case a.Free < b.Free:
			return 1
		}
		return 0
	})
	return out
}
