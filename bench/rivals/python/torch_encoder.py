"""The encoder step of bench/contenders/tersor-encoder.ts in PyTorch: nn.TransformerEncoderLayer (query, key and value in one product)."""
import torch

from contender import floats, reset_peak, with_peak


def prepare(p):
    width, layers = p["width"], p["layers"]
    shape = (p["batch"], p["tokens"], width)
    x, t = (torch.from_numpy(floats(shape, s)) for s in (7, 8))
    reset_peak()
    layer = torch.nn.TransformerEncoderLayer(width, p["heads"], p["hidden"], dropout=0.0, activation="gelu", batch_first=True)
    net = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).train()
    seed = [100]

    def draw(shape, base=0.0):
        seed[0] += 1
        return base + torch.from_numpy(floats(tuple(shape), seed[0] - 1)) * 0.05

    square = (width, width)
    for block in net.layers:  # in the order of the names on the other side
        a = block.self_attn
        parts = {}
        for name in ("key", "output", "query", "value"):
            parts[name] = (draw((width,)), draw(square))
        a.in_proj_bias.copy_(torch.cat([parts[n][0] for n in ("query", "key", "value")]))
        a.in_proj_weight.copy_(torch.cat([parts[n][1] for n in ("query", "key", "value")]))
        a.out_proj.bias.copy_(parts["output"][0])
        a.out_proj.weight.copy_(parts["output"][1])
        for linear in (block.linear2,):
            linear.bias.copy_(draw(linear.bias.shape))
            linear.weight.copy_(draw(linear.weight.shape))
        for norm in (block.norm1, block.norm2):
            norm.bias.copy_(draw(norm.bias.shape))
            norm.weight.copy_(draw(norm.weight.shape, 1.0))
        block.linear1.bias.copy_(draw(block.linear1.bias.shape))
        block.linear1.weight.copy_(draw(block.linear1.weight.shape))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, foreach=True)

    def gradient():
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            with torch.autocast("cpu", torch.bfloat16, enabled=p.get("precision") == "bf16"):
                y = net(x)
            (y.float() * t).mean().backward()

    def step():
        gradient()
        optimizer.step()

    gradient()
    return with_peak([step], sum(w.grad.double().abs().sum().item() for w in net.parameters()))
