"""The demo base's text encoder: CLIP's (causal, quick GELU), 48 wide, 3 layers, 4 heads, CLIP's real vocabulary.

Only the embeddings of tokens that captions of the general set hold are trained. All others stay as drawn, with the same
spread, so that a new identifier is a new direction.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from tokens import VOCABULARY, LENGTH

WIDTH, LAYERS, HEADS, SPREAD = 48, 3, 4, 0.25


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = nn.ModuleDict({k: nn.Linear(WIDTH, WIDTH) for k in ("q_proj", "k_proj", "v_proj", "out_proj")})
        self.mlp = nn.ModuleDict(dict(fc1=nn.Linear(WIDTH, 4 * WIDTH), fc2=nn.Linear(4 * WIDTH, WIDTH)))
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x):
        h, a = self.layer_norm1(x), self.self_attn
        split = lambda t: t.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        h = F.scaled_dot_product_attention(split(a.q_proj(h)), split(a.k_proj(h)), split(a.v_proj(h)), is_causal=True)
        x = x + a.out_proj(h.transpose(1, 2).flatten(2))
        h = self.mlp.fc1(self.layer_norm2(x))
        return x + self.mlp.fc2(h * torch.sigmoid(1.702 * h))


class TextEncoder(nn.Module):
    """ids [B, 77] -> [B, 77, 48]. `used`: the ids whose embeddings are trained."""

    def __init__(self, used):
        super().__init__()
        place = torch.full((VOCABULARY,), -1)
        place[torch.as_tensor(used)] = torch.arange(len(used))
        self.register_buffer("place", place)
        self.register_buffer("fixed", torch.randn(VOCABULARY, WIDTH) * SPREAD)
        self.token = nn.Parameter(self.fixed[torch.as_tensor(used)].clone())
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH) * SPREAD / 2)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, ids):
        place = self.place[ids]
        x = torch.where((place >= 0)[..., None], F.embedding(place.clamp(min=0), self.token), F.embedding(ids, self.fixed))
        x = x + self.position
        for layer in self.layers:
            x = layer(x)
        return self.final_layer_norm(x)


@torch.no_grad()
def export(text):
    o = {}
    table = text.fixed.clone()
    used = text.place >= 0
    table[used] = text.token[text.place[used]]
    o["embeddings.token_embedding.weight"] = table
    o["embeddings.position_embedding.weight"] = text.position
    for k, v in text.layers.state_dict().items():
        o["encoder.layers." + k] = v
    o["final_layer_norm.weight"], o["final_layer_norm.bias"] = text.final_layer_norm.weight, text.final_layer_norm.bias
    return {"cond_stage_model.transformer.text_model." + k: v.detach().clone() for k, v in o.items()}
