"""Time a training step as PyTorch does it: SD 1.5's UNet of diffusers and CLIP's text encoder, random weights, a LoRA on every linear and 1x1
convolution of their transformers, AdamW, scaled-dot-product attention, autocast.

    python step_time.py [--device cpu|cuda[:N]] [--dtype f32|bf16|fp16] [--size 512] [--rank 32] [--batch 1] [--steps 50] [--tiny]

Prints one JSON object. Exit status 77 where torch, transformers or diffusers are not installed, or torch has no such device. The frozen
weights are kept in the type of the products, as trainers do; the LoRA in f32. script/gpu-check runs it beside lx.
"""
import argparse
import json
import statistics
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cpu")
parser.add_argument("--dtype", default="f32", choices=["f32", "bf16", "fp16"])
parser.add_argument("--size", type=int, default=512)
parser.add_argument("--rank", type=int, default=32)
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--tiny", action="store_true", help="a narrow model, to try this script")
args = parser.parse_args()
try:
    import torch
    import diffusers
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel
except ImportError as error:
    print(f"skip: {error}", file=sys.stderr)
    sys.exit(77)
if args.device.startswith("cuda") and not torch.cuda.is_available():
    print("skip: torch has no CUDA device", file=sys.stderr)
    sys.exit(77)

DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[args.dtype]
device = torch.device(args.device)
torch.manual_seed(0)


class Lora(torch.nn.Module):
    """y = layer(x) + up(down(x)), the factors in f32."""

    def __init__(self, layer, rank):
        super().__init__()
        self.layer = layer
        if isinstance(layer, torch.nn.Linear):
            self.down, self.up = torch.nn.Linear(layer.in_features, rank, bias=False), torch.nn.Linear(rank, layer.out_features, bias=False)
        else:
            self.down = torch.nn.Conv2d(layer.in_channels, rank, 1, bias=False)
            self.up = torch.nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        torch.nn.init.zeros_(self.up.weight)

    def forward(self, x, *rest):
        return self.layer(x, *rest) + self.up(self.down(x))


def inject(model, is_wanted):
    places = [(parent, name, child) for path, parent in model.named_modules() for name, child in parent.named_children()
              if is_wanted(f"{path}.{name}") and (isinstance(child, torch.nn.Linear) or getattr(child, "kernel_size", 0) == (1, 1))]
    for parent, name, child in places:
        setattr(parent, name, Lora(child, args.rank))
    return [p for module in model.modules() if isinstance(module, Lora) for p in (module.down.weight, module.up.weight)]


width, channels = (40, (32, 64, 96, 96)) if args.tiny else (768, (320, 640, 1280, 1280))
unet = UNet2DConditionModel(sample_size=args.size // 8, block_out_channels=channels, cross_attention_dim=width, attention_head_dim=8)
text = CLIPTextModel(CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2 if args.tiny else 12,
                                    num_attention_heads=4 if args.tiny else 12, hidden_act="quick_gelu", projection_dim=width))
for model in (unet, text):
    model.requires_grad_(False).to(device, DTYPE)
loras = inject(unet, lambda path: ".attentions." in path) + inject(text, lambda path: ".self_attn." in path or ".mlp." in path)
unet.to(device), text.to(device)
optimizer = torch.optim.AdamW(loras, 1e-4)
scaler = torch.amp.GradScaler(device.type, enabled=args.dtype == "fp16" and device.type == "cuda")
latents = torch.randn(args.batch, 4, args.size // 8, args.size // 8, device=device)
ids = torch.randint(0, 49407, (args.batch, 77), device=device)
seconds = []
for step in range(args.steps):
    if device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    with torch.autocast(device.type, dtype=DTYPE, enabled=args.dtype != "f32"):
        noise = torch.randn_like(latents)
        hidden = text(ids).last_hidden_state
        predicted = unet(latents + noise, torch.full((args.batch,), 500, device=device), hidden).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(loras, 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - begun)
counted = seconds[3:] or seconds  # the first ones choose algorithms
print(json.dumps({"torch": torch.__version__, "diffusers": diffusers.__version__, "parameters": sum(p.numel() for p in loras),
                  "step_seconds": statistics.median(counted), "iterations_per_second": 1 / statistics.median(counted),
                  "peak_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None}))
