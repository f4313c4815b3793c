"""`lx convert` of SD 3's and HunyuanVideo's LoRAs, against the peers' own classes and conversions.

A narrow SD 3.5 in sd-scripts' classes gets the LoRA that networks.lora_sd3 makes of all its layers, with random
factors. What diffusers, PEFT and sd-scripts do to their models with lx's conversions of it must be what
the LoRA says: the changes of the weights are compared, layer by layer. diffusers' own conversion of the model
says which layer is which, and how its rows stand: the change of a weight is converted as the weight.
"""

import contextlib
import io
import os

import torch
from safetensors.torch import load_file, save_file

import peers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.loaders import single_file_utils
from library import sd3_models
from networks import lora_sd3
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

LIMIT = 1e-6  # of f32's products, relative

BLOCKS = 3  # and 64 times as wide


def random_(tensors):
    for tensor in tensors:
        tensor.copy_(torch.randn(tensor.shape, generator=random_.generator) * 0.1)


random_.generator = torch.Generator().manual_seed(3)


def mmdit():
    params = sd3_models.SD3Params(
        patch_size=2, depth=BLOCKS, num_patches=64, pos_embed_max_size=8, adm_in_channels=64,
        qk_norm="rms", x_block_self_attn_layers=[0, 1], context_embedder_in_features=48,
        context_embedder_out_features=64 * BLOCKS, model_type="5-medium")
    model = sd3_models.create_sd3_mmdit(params)
    model.register_buffer("pos_embed", torch.zeros(1, 64, 64 * BLOCKS))
    random_(model.parameters())
    return model


def text_encoders():
    clip = [CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=32)) for _ in range(2)]
    t5 = T5EncoderModel(T5Config(vocab_size=64, d_model=32, d_ff=64, d_kv=16, num_layers=2,
                                 num_heads=2, feed_forward_proj="gated-gelu"))
    return [*clip, t5]


def trained(path, model, encoders, **words):
    """The file that sd-scripts writes; its modules' factors are drawn, alpha / rank is 1 / 4."""
    network = lora_sd3.create_network(
        1.0, 4, 1.0, None, encoders, model, train_t5xxl="True", **words)
    network.apply_to(encoders, model)
    random_(p for name, p in network.named_parameters() if "lora_" in name)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the keys
        network.save_weights(path, torch.float32, {"ss_network_module": "networks.lora_sd3"})
    return load_file(path)


def changes(state):
    """What each module of sd-scripts' file adds to its layer's weight, in f64."""
    found = {}
    for key in state:
        if not key.endswith(".lora_up.weight"):
            continue
        stem = key.removesuffix(".lora_up.weight")
        up, down = state[key].double(), state[stem + ".lora_down.weight"].double()
        scale = float(state[stem + ".alpha"]) / down.shape[0]
        found[stem] = scale * (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])
    return found


def wanted_of(change, model, convert):
    """The changes by diffusers' names, as its conversion of the model moves the weights."""
    state = {key: torch.zeros_like(value, dtype=torch.float64)
             for key, value in model.state_dict().items()}
    left = {stem: value for stem, value in change.items() if stem.startswith("lora_unet_")}
    for key in state:
        stem = "lora_unet_" + key.removesuffix(".weight").replace(".", "_")
        if key.endswith(".weight") and stem in left:
            state[key] = left.pop(stem)
    peers.check("every module of the image network has its layer", not left, ", ".join(left))
    return {key: value for key, value in convert(state).items() if value.any()}


def compare(name, got, wanted):
    peers.check(f"{name}: the same layers", got.keys() == wanted.keys(),
                f"{len(wanted)}, {sorted(got.keys() ^ wanted.keys())[:4]}")
    worst = max((peers.relative(got[key], wanted[key]), key) for key in got.keys() & wanted.keys())
    peers.check(f"{name}: the same changes", worst[0] <= LIMIT, f"{worst[0]:.1e} at {worst[1]}")


def in_f64(*modules):
    """So that the change of a weight is not rounded to the weight's last bit."""
    for module in modules:
        module.double()


def diffusers_transformer():
    return SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, out_channels=16, num_layers=BLOCKS,
        attention_head_dim=64, num_attention_heads=BLOCKS, joint_attention_dim=48,
        caption_projection_dim=64 * BLOCKS, pooled_projection_dim=64, pos_embed_max_size=8,
        dual_attention_layers=(0, 1), qk_norm="rms_norm")


def check_diffusers(name, file, wanted, change):
    transformer, (clip_l, clip_g, _) = diffusers_transformer(), text_encoders()
    in_f64(transformer, clip_l, clip_g)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(), vae=AutoencoderKL(),
        text_encoder=clip_l, tokenizer=None, text_encoder_2=clip_g, tokenizer_2=None,
        text_encoder_3=None, tokenizer_3=None)
    before = {part: {k: v.clone() for k, v in getattr(pipeline, part).state_dict().items()}
              for part in ("transformer", "text_encoder", "text_encoder_2")}
    pipeline.load_lora_weights(os.path.dirname(file), weight_name=os.path.basename(file))
    pipeline.fuse_lora(components=list(before))
    pipeline.unload_lora_weights()
    for part, state in before.items():
        after = getattr(pipeline, part).state_dict()
        got = {key: after[key] - state[key] for key in state if not torch.equal(after[key], state[key])}
        prefix = {"text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}.get(part)
        compare(f"{name}: {part} of diffusers' pipeline", got, wanted if not prefix else {
            key: change[stem] for key in state
            if (stem := prefix + key.removesuffix(".weight").replace(".", "_")) in change})


def check_peft(name, folder, wanted):
    from peft import PeftModel

    transformer = diffusers_transformer()
    in_f64(transformer)
    before = {key: value.clone() for key, value in transformer.state_dict().items()}
    after = PeftModel.from_pretrained(transformer, folder).merge_and_unload().state_dict()
    compare(f"{name}: transformer with PEFT", {
        key: after[key] - before[key] for key in before if not torch.equal(after[key], before[key])},
        wanted)


def check_sd_scripts(name, file, change):
    """Loaded strictly, and the same changes."""
    model, encoders = mmdit(), text_encoders()
    network, state = lora_sd3.create_network_from_weights(1.0, file, None, encoders, model)
    network.apply_to(encoders, model)
    found = network.load_state_dict(state, True)
    peers.check(f"{name}: networks.lora_sd3 knows every key",
                not found.missing_keys and not found.unexpected_keys)
    compare(f"{name}: changes in sd-scripts' names", changes(state), change)


def check_sd3(name, **words):
    path = lambda kind: os.path.join(peers.WORK, f"{name}-{kind}.safetensors".replace(" ", "-"))
    convert = lambda source, to, out: peers.run_lx(
        "convert", source, "--to", to, "--base", "sd3", "-o", out, "--no_record")
    model, encoders = mmdit(), text_encoders()
    change = changes(trained(path("kohya"), mmdit(), encoders, **words))
    wanted = wanted_of(change, model, single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers)
    convert(path("kohya"), "diffusers", path("diffusers"))
    check_diffusers(name, path("diffusers"), wanted, change)
    folder = os.path.join(peers.WORK, f"{name}-peft".replace(" ", "-"))
    convert(path("kohya"), "peft", folder)
    check_peft(name, os.path.join(folder, "transformer"), wanted)
    convert(path("kohya"), "comfyui", path("comfyui"))
    for kind, source in (("diffusers", path("diffusers")), ("peft", folder), ("comfyui", path("comfyui"))):
        back = path("back-from-" + kind)
        convert(source, "kohya", back)
        check_sd_scripts(f"{name}: back from {kind}", back, change)
    names = {"diffusion_model." + key.removesuffix(".weight") for key in mmdit().state_dict()}
    got = {key.removesuffix(".lora_A.weight") for key in load_file(path("comfyui"))
           if key.startswith("diffusion_model.") and key.endswith(".lora_A.weight")}
    peers.check(f"{name}: ComfyUI's names are the model's", got <= names, f"{len(got)}, {sorted(got - names)[:3]}")


HUNYUAN = {
    "img_in.proj": (3072, 64), "time_in.mlp.0": (3072, 256), "time_in.mlp.2": (3072, 3072),
    "vector_in.in_layer": (3072, 768), "vector_in.out_layer": (3072, 3072),
    "guidance_in.mlp.0": (3072, 256), "guidance_in.mlp.2": (3072, 3072),
    "txt_in.input_embedder": (3072, 4096), "txt_in.t_embedder.mlp.0": (3072, 256),
    "txt_in.t_embedder.mlp.2": (3072, 3072), "txt_in.c_embedder.linear_1": (3072, 4096),
    "txt_in.c_embedder.linear_2": (3072, 3072), "final_layer.linear": (64, 3072),
    "final_layer.adaLN_modulation.1": (6144, 3072), "single_blocks.39.linear1": (21504, 3072),
    "single_blocks.39.linear2": (3072, 15360), "single_blocks.39.modulation.linear": (9216, 3072),
    **{f"double_blocks.19.{side}_{layer}": shape for side in ("img", "txt") for layer, shape in {
        "attn_qkv": (9216, 3072), "attn_proj": (3072, 3072), "mlp.fc1": (12288, 3072),
        "mlp.fc2": (3072, 12288), "mod.linear": (18432, 3072)}.items()},
    **{f"txt_in.individual_token_refiner.blocks.1.{layer}": shape for layer, shape in {
        "self_attn_qkv": (9216, 3072), "self_attn_proj": (3072, 3072), "mlp.fc1": (12288, 3072),
        "mlp.fc2": (3072, 12288), "adaLN_modulation.1": (6144, 3072)}.items()},
}


def check_hunyuan_video():
    """Of diffusers 0.32.1 the conversion of the model, there is none of LoRAs yet. Rank 1, in the true sizes."""
    path = lambda kind: os.path.join(peers.WORK, f"hunyuan-{kind}.safetensors")
    state = {}
    for layer, (rows, columns) in HUNYUAN.items():
        stem = "lora_unet_" + layer.replace(".", "_")
        up, down = torch.empty(rows, 1), torch.empty(1, columns)
        random_((up, down))
        state |= {stem + ".lora_up.weight": up, stem + ".lora_down.weight": down,
                  stem + ".alpha": torch.tensor(0.5)}
    save_file(state, path("kohya"))
    peers.run_lx("convert", path("kohya"), "--to", "diffusers", "-o", path("diffusers"), "--no_record")
    got = load_file(path("diffusers"))
    # By rows and by columns: the products of all layers would fill 4 GB.
    for part, end, factor in (("up", "lora_B", 0.5), ("down", "lora_A", 1)):
        weights = {}
        for layer in HUNYUAN:
            weight = state["lora_unet_" + layer.replace(".", "_") + f".lora_{part}.weight"] * factor
            weights[layer + ".weight"] = weight if part == "up" else weight.expand(HUNYUAN[layer][0], -1)
        wanted = single_file_utils.convert_hunyuan_video_transformer_to_diffusers(weights)
        compare(f"HunyuanVideo: {part}", {
            key.removeprefix("transformer.").replace(f".{end}.", "."): value
            for key, value in got.items() if f".{end}." in key},
            {key: value if part == "up" else value[:1] for key, value in wanted.items()})
    peers.run_lx("convert", path("diffusers"), "--to", "kohya", "-o", path("back"), "--no_record")
    compare("HunyuanVideo: back", changes(load_file(path("back"))), changes(state))


check_sd3("SD 3.5 medium", emb_dims="[4,4,4,4,4,4]")
check_sd3("qkv trained apart", split_qkv="True")
check_hunyuan_video()
peers.finish()
