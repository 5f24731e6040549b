package adapter

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
)

// OfFaces are the changes that a FaceID IP-Adapter makes to the attention of a UNet: the
// products that its file has beside what it attends to. It is an error if the model is none that has
// some. The file is open as long as the model is: closing it does nothing.
func OfFaces(m *model.Model) (*File, error) {
	c, ok := m.Config.(*family.IPAdapterConfig)
	if !ok || c.LoRA == 0 {
		return nil, fmt.Errorf("%s: it has no LoRA of faces: %w", m.Path, model.ErrUnrecognized)
	}
	f := &File{Path: m.Path, Name: nameOf(m.Path), Metadata: m.Metadata, holder: m, borrowed: true}
	var all []model.Stored
	for _, t := range m.Tensors {
		if strings.Contains(t.Name, "_lora.") {
			all = append(all, model.Stored{Tensor: t})
		}
	}
	return f, f.read(all)
}

var facesLayer = regexp.MustCompile(`^ip_adapter\.(\d{1,4})\.to_(q|k|v|out)$`)

// faces names layers by the number of their attention, in the order of the diffusers library's
// attn_processors, which is that of [Targets.list].
func faces(module string) (Part, string, int, bool) {
	m := facesLayer.FindStringSubmatch(module)
	if m == nil {
		return "", "", 0, false
	}
	parts := []string{"q", "k", "v", "out"}
	n, _ := strconv.Atoi(m[1])
	return UNet, "", n*len(parts) + slices.Index(parts, m[2]) + 1, true
}
