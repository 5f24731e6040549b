package family

// PlainDDPM is a DDPM whose network is convolutions after one another, with layer
// normalisations over whole pictures, as courses teach it. It is known by name, and not
// run.
const PlainDDPM = "plain_ddpm"

var plainDDPM = &Family{
	Name:  PlainDDPM,
	Looks: []Look{{"a DDPM of plain convolutions, without a UNet", []string{"beta_t", "gt.blocks.0.net.0.weight", "gt.time_embed.0.weight"}}},
	Properties: func(d *Describer) {
		d.Property("blocks", d.Blocks("gt.blocks."))
		d.Property("steps", d.Dim("beta_t", 0)-1)
	},
}
