package sd

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/sd/request"
)

// maxHashed bounds the files whose hashes are computed, in bytes: autoencoders have some
// hundreds of megabytes.
const maxHashed = 1 << 30

// parts are what pictures record of the files in place of the model's own networks.
func (o Options) parts() (p request.Parts) {
	for _, f := range []struct {
		path string
		name *string
	}{{o.VAE, &p.VAE}, {o.CLIPL, &p.CLIPL}, {o.CLIPG, &p.CLIPG}, {o.T5, &p.T5}, {o.LLM, &p.LLM}, {o.LLMVision, &p.LLMVision}} {
		if f.path != "" {
			*f.name = filepath.Base(f.path)
		}
	}
	p.VAEHash = shortHash(o.VAE)
	return p
}

// shortHash is the beginning of a file's SHA-256, which programs know models by; "" of
// a folder, and of a file that is too large to be read for that.
func shortHash(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxHashed {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:10]
}
