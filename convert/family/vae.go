package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// VAE is a KL autoencoder of latent diffusion on its own.
const VAE = "vae"

var vae = &Family{
	Name: VAE,
	Looks: append(frameVAELooks,
		Look{"an autoencoder", []string{"*decoder.up.0.block.0.conv1.weight"}},
		Look{"an autoencoder in the diffusers library's layout", []string{"*decoder.up_blocks.0.resnets.0.conv1.weight"}},
	),
	Rewrite: vaeOriginal,
	Properties: func(d *Describer) {
		describeLatent(d, max(d.Dim("decoder.conv_in.weight", 1), d.Dim("decoder.conv1.weight", 1)))
	},
	Lacks: func(*model.Model) string { return "a UNet; --vae takes it beside a model" },
	Role:  Autoencoder,
}

// vaeOriginal gives the tensors of an autoencoder, without a prefix, their canonical names.
func vaeOriginal(all []model.Stored) ([]model.Stored, error) {
	switch {
	case isFrameVAE(all):
		return frameVAE(all)
	case layout.Contains(all, "up_blocks."):
		return layout.Renamed(all, layout.Without(model.VAEPrefix, layout.VAENames(all))), nil
	}
	return all, nil
}

// describeLatent notes the channels of an autoencoder's latents.
func describeLatent(d *Describer, channels int) {
	d.Property("latent_channels", channels)
	if channels > 0 {
		d.Say(fmt.Sprintf("%d latent channels", channels))
	}
}
