package family

import (
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Models of latent diffusion without text (Rombach et al. 2022): unconditional, by class,
// and those that enlarge pictures.

const (
	classTable   = "cond_stage_model.embedding.weight"       // a row for each class, to which the UNet attends
	classContext = model.UNetPrefix + "class_context.weight" // as the network asks for it
	scaleFactor  = "scale_factor"                            // of latents, where training measured it
)

// latentSays is what a single file of latent diffusion says by its tensors.
func latentSays(all []model.Stored) (scale string) {
	for _, t := range all {
		if t.Name != scaleFactor || t.Elements() != 1 || !t.Type.Float() {
			continue
		}
		var value [1]float32
		if t.Float32(value[:]) == nil {
			scale = fmt.Sprint(value[0])
		}
	}
	return scale
}

// readLatentUNet reads a UNet that attends to a class: c's other fields follow from it.
func readLatentUNet(r *Reader) *Pixel {
	u := r.UNet()
	table := r.Shape(classTable, 2)
	if r.err == nil && table[1] != u.ContextDim {
		r.Fail("tensor %q must have rows of %d numbers, got the shape %v: %w", classTable, u.ContextDim, table[:2], model.ErrUnrecognized)
	}
	if r.err != nil {
		return nil
	}
	u.Heads = 1 // of cin256
	c := &Pixel{Name: PixelUNet, Net: "class_unet", Prefix: model.UNetPrefix, LatentUNet: &u, Classes: table[0] - 1, NullClass: table[0] - 1,
		ClassInput: ClassIndex, Channels: u.InChannels, Multiple: 1 << (len(u.ChannelMult) - 1),
		Process: Process{Kind: ProcessDDPM, Betas: "scaled_linear", BetaStart: 0.0015, BetaEnd: 0.0195, Steps: 1000, Prediction: "epsilon", Variance: "fixed_small"}}
	c.rows = table[0]
	for level, depth := range u.TransformerDepth {
		if depth > 0 && c.Size == 0 {
			c.Size = 32 << level
		}
	}
	if u.OutChannels != u.InChannels {
		r.Fail("a UNet that draws by class with %d input and %d output channels: %w", u.InChannels, u.OutChannels, model.ErrUnrecognized)
	}
	return c
}

// readPixelLatent reads such a model.
func readPixelLatent(r *Reader) any {
	c := readLatentUNet(r)
	if c == nil {
		return nil
	}
	c.readVAE(r)
	c.LatentUNet.Norms.apply(r, keyUNetGroups, keyUNetEps)
	c.apply(r, latentNumbers(c.LatentUNet))
	if u := c.LatentUNet; u.HeadDim > 0 && r.Model.Metadata[pixelKey+"heads"] == "" {
		u.Heads = 0
	}
	c.finish(r)
	r.betas()
	r.alphas()
	return c
}

// latentNumbers are those of such a UNet that no shape tells.
func latentNumbers(u *UNetConfig) []number {
	return []number{whole("heads", 0, 1<<10, &u.Heads), whole("head_dim", 0, 1<<13, &u.HeadDim)}
}

// readVAE reads the autoencoder, if the file has one.
func (c *Pixel) readVAE(r *Reader) {
	if !r.Has(model.VAEPrefix + "decoder.conv_in.weight") {
		return
	}
	vae := r.VAE()
	c.VAE, c.Codebook = &vae, vae.Codes
	vae.applyMetadata(r)
	if r.err == nil && vae.EmbedDim != c.Channels {
		r.Fail("an autoencoder with %d latent channels does not fit a network with %d", vae.EmbedDim, c.Channels)
	}
	for _, t := range r.Model.Tensors {
		if name, ok := strings.CutPrefix(t.Name, model.VAEPrefix); ok && strings.Contains(name, ".attn.") {
			r.Fail("tensor %q is surplus: autoencoders have attention in their middle alone", t.Name)
		}
	}
}

// completeLatent gives the table of classes the name that the network asks for.
func completeLatent(m *model.Model) error {
	if i := m.Index(classTable); i >= 0 && m.Index(classContext) < 0 {
		t := m.Tensors[i]
		t.Name = classContext
		m.Add(t)
	}
	return nil
}
