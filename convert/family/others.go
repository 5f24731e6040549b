package family

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/model"
)

// Networks around diffusion that are only recognised: what measures pictures, finds faces
// in them, or sorts them.
const (
	LPIPS   = "lpips"
	DISTS   = "dists"
	MTCNN   = "mtcnn"
	ResNet  = "resnet"
	CNNDDPM = "cnn_ddpm"
)

// lpips are the layers that the metric (Zhang et al. 2018) adds to a published classifier.
var lpips = &Family{
	Name:  LPIPS,
	Looks: []Look{{"the linear layers of LPIPS", []string{"lin0.model.1.weight", "lin4.model.1.weight"}}},
	Properties: func(d *Describer) {
		d.Property("layers", d.Blocks("lin"))
		switch second := d.Dim("lin1.model.1.weight", 1); {
		case second == 192:
			d.Say("AlexNet")
		case d.Has("lin6.model.1.weight"):
			d.Say("SqueezeNet")
		case second == 128:
			d.Say("VGG")
		}
	},
}

// dists are the weights of the metric's features (Ding et al. 2020): of the picture and of
// VGG-16's five stages.
var dists = &Family{
	Name:  DISTS,
	Looks: []Look{{"the weights of DISTS", []string{"alpha", "beta"}}},
	Fits: func(all []model.Stored) bool {
		return len(all) == 2 && len(all[0].Shape) == 4 && all[0].Shape[1] == 3+64+128+256+512+512
	},
}

// mtcnn are the three networks that find faces one after another (Zhang et al. 2016).
var mtcnn = &Family{
	Name: MTCNN,
	Looks: []Look{
		{"MTCNN's P-Net, which proposes faces", []string{"conv4_1.weight", "conv4_2.weight", "prelu3.weight"}},
		{"MTCNN's R-Net, which refines faces", []string{"dense5_1.weight", "dense5_2.weight", "prelu4.weight"}},
		{"MTCNN's O-Net, which finds faces and their landmarks", []string{"dense6_1.weight", "dense6_3.weight", "prelu5.weight"}},
	},
}

// resNet is a residual network for small pictures (He et al. 2015, section 4.2).
var resNet = &Family{
	Name: ResNet,
	Looks: []Look{
		{"a ResNet for classification", []string{"*conv1.weight", "*layer1.0.conv1.weight", "*layer1.0.bn1.running_mean", "*linear.weight"}},
		{"a ResNet for classification", []string{"*conv1.weight", "*layer1.0.conv1.weight", "*layer1.0.bn1.running_mean", "*fc.weight"}},
	},
	Properties: func(d *Describer) {
		layers := 1 // the one that sorts
		for _, t := range d.Model.Tensors {
			if len(t.Shape) == 4 && dimension(t, 2) > 1 {
				layers++
			}
		}
		classes := max(d.Dim("linear.weight", 0), d.Dim("fc.weight", 0))
		d.Property("layers", layers)
		d.Property("classes", classes)
		d.Say(fmt.Sprintf("%d layers", layers))
		d.Say(fmt.Sprintf("%d classes", classes))
	},
}

// cnnDDPM is a small denoiser of plain convolutions that is taught with: Song's
// minimal tutorials and what was made of them.
var cnnDDPM = &Family{
	Name:  CNNDDPM,
	Looks: []Look{{"a DDPM of plain convolutions", []string{"beta_t", "alpha_t", "gt.blocks.0.net.0.weight", "gt.frequencies"}}},
	Properties: func(d *Describer) {
		d.Property("channels", d.Dim("gt.blocks.0.net.0.weight", 1))
		d.Property("blocks", d.Blocks("gt.blocks."))
		side, steps := d.Dim("gt.blocks.0.net.1.weight", 0), d.Dim("beta_t", 0)-1
		d.Property("side", side)
		d.Property("steps", steps)
		if side > 0 && steps > 0 {
			d.Say(fmt.Sprintf("%dx%d pixels, %d steps", side, side, steps))
		}
	},
}
