"""A LoRA of `lx train` in diffusers' own loader (load_lora_weights): what it does to the models."""

import os

import peers


def outputs(pipeline, given):
    return {
        "text": pipeline.text_encoder(given["input_ids"][:, 0])[0],
        "unet": pipeline.unet(given["x"], given["t"], given["context"]).sample,
    }


def check(name, file):
    base = peers.tiny_base()
    pipeline = peers.diffusers_pipeline(base, 4)
    given = peers.inputs(pipeline.text_encoder.config.hidden_size)
    before = outputs(pipeline, given)
    plain = peers.lx_outputs(base, None, given, "--text_encoder_heads", "4")
    pipeline.load_lora_weights(os.path.dirname(file), weight_name=os.path.basename(file))
    wanted = outputs(pipeline, given)
    got = peers.lx_outputs(base, file, given, "--text_encoder_heads", "4")
    for what, limit in (("text", peers.TEXT_LIMIT), ("unet", peers.UNET_LIMIT)):
        distance = peers.relative(plain[what], before[what])
        peers.check(f"{name}: {what} output without the LoRA", distance <= limit,
                    f"distance {distance:.1e}")
        distance = peers.relative(got[what], wanted[what])
        moved = peers.relative(wanted[what], before[what])
        peers.check(f"{name}: {what} output with the LoRA", distance <= limit and moved > 1e-3,
                    f"distance {distance:.1e}, the LoRA moves it by {moved:.1e}")


check("rank 4", peers.train_tiny("plain"))
check("rank 4 in fp16", peers.train_tiny("half", "--save_precision", "fp16"))
check("convolutions of the same rank",
      peers.train_tiny("same", "--network_args", "conv_dim=4", "conv_alpha=1"))
# With two ranks in one file, diffusers 0.32.1 sets every scale alpha/rank to 1 (loaders/peft.py,
# _maybe_adjust_config), whoever wrote the file; where the scales are 1, it must agree.
check("convolutions of another rank",
      peers.train_tiny("other", "--network_alpha", "4", "--network_args", "conv_dim=2",
                       "conv_alpha=2"))
peers.finish()
