"""The benchmark's PyTorch side: one workload held warm in a process that runs a step when it is told to.

    torch_peer.py WORKLOAD --threads N [--batch B] [--steps T] [--rate-scale S]

Writes one JSON object a line. First {"ready": ...} with versions, or {"skip": "..."} where torch is missing. Then for every
line read from standard input one answer:

    train     one training step of the batch: encode, forward, backward, update   -> {"ms": ..., "cpu_ms": ...}
    infer     one forward pass of the batch, encoding included                     -> {"ms": ..., "cpu_ms": ...}
    latency   one forward pass of a single sample                                  -> {"ms": ..., "cpu_ms": ...}
    rates     spikes a neuron and step of every spiking layer, and the input's     -> {"rates": {...}}
    loss      the loss of the batch as training sees it; nothing changes          -> {"loss": ...}

`ms` is the time on the wall, `cpu_ms` that of all threads together. A number behind the first three does the same so many
times, one after the other, and the times are those of all: `train 12`.

With --start FILE (safetensors) weights, pictures (`input`) and labels (`label`) are those of the file, so that both sides
of a comparison begin with the same network on the same batch (of which a smaller --batch takes the first samples);
without it they are drawn at random. --rate-scale multiplies the learning rate.

The workloads are written the way such networks are written in PyTorch today: a loop over steps, convolutions and
products from the library, autograd. Nothing is recorded while a step is timed.
"""
import argparse
import copy
import json
import math
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"skip": f"PyTorch cannot be imported ({error})"}), flush=True)
    sys.exit(0)

DENSITY = 0.19  # share of non-zero pixels, that of MNIST


def images(batch, *shape):
    return torch.rand(batch, *shape) * (torch.rand(batch, *shape) < DENSITY)


def targets(labels, classes=10):
    return F.one_hot(labels, classes).float()


def he_normal(*shape):
    return (torch.randn(*shape) * math.sqrt(2 / math.prod(shape[1:]))).requires_grad_()


def read_start(path):
    """The tensors of a safetensors file: 8 bytes with the header's length, the header in JSON, the data."""
    with open(path, "rb") as file:
        content = bytearray(file.read())
    length = int.from_bytes(content[:8], "little")
    tensors = {}
    for name, entry in json.loads(content[8:8 + length]).items():
        if name != "__metadata__":
            kind = {"F32": torch.float32, "I32": torch.int32}[entry["dtype"]]
            at, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = torch.frombuffer(content[at:end], dtype=kind).reshape(entry["shape"]).clone()
    return tensors


class Meter:
    """Mean spikes a neuron and step, layer by layer; switched off (None) while a step is timed."""

    def __init__(self):
        self.sums = {}

    def add(self, name, spikes):
        total, count = self.sums.get(name, (0.0, 0))
        self.sums[name] = (total + (spikes != 0).sum().item(), count + spikes.numel())

    def rates(self):
        return {name: total / count for name, (total, count) in self.sums.items()}


# ---------------------------------------------------------------- lee
class SpikeAboveZero(torch.autograd.Function):
    """1 where x > 0, and there alone the gradient passes."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x > 0).to(gradient.dtype)


class LateFactor(torch.autograd.Function):
    """Identity; its gradient is multiplied by a factor that is known only after the last step."""

    @staticmethod
    def forward(ctx, x, holder):
        ctx.holder = holder
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.holder["factor"], None


def straight_leak(membrane, leak):
    """The value leaks, the gradient does not."""
    return leak * membrane.detach() + (membrane - membrane.detach())


def spike_and_rest(membrane, threshold):
    over = F.threshold(membrane, threshold, 0.0)
    return SpikeAboveZero.apply(over), membrane - over


class LeeNeuron:
    def __init__(self, leak):
        self.leak, self.membrane, self.leaky, self.plain, self.holder = leak, None, None, None, {}

    def step(self, current):
        membrane = current if self.membrane is None else self.membrane + current
        spikes, membrane = spike_and_rest(membrane, 1.0)
        self.membrane = straight_leak(membrane, self.leak)
        seen = spikes.detach()
        self.leaky = seen if self.leaky is None else self.leak * self.leaky + seen
        self.plain = seen if self.plain is None else self.plain + seen
        return LateFactor.apply(spikes, self.holder)

    def close(self):
        count = self.plain + (self.plain < 1e-3).to(self.plain.dtype)
        self.holder["factor"] = (self.leaky > 1e-3).to(count.dtype) + math.log(self.leak) * self.leaky / count


class LeePool:
    def __init__(self):
        self.membrane = None

    def step(self, current):
        membrane = current if self.membrane is None else self.membrane + current
        spikes, self.membrane = spike_and_rest(membrane, 0.75)
        return spikes


class Workload:
    """What most have in common: one update a batch."""

    def train(self):
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def put(start, places):
    """Parameters from the tensors of these names."""
    with torch.no_grad():
        for name, parameter in places.items():
            parameter.copy_(start[name])


class Lee(Workload):
    """LeNet 20C5p2-2A-50C5p2-2A-200-10, leak 0.99, Poisson input of probability x / 2, SGD."""
    steps, leak = 50, 0.99

    def __init__(self, batch):
        self.weights = [he_normal(20, 1, 5, 5), he_normal(50, 20, 5, 5), he_normal(200, 2450), he_normal(10, 200)]
        self.optimizer = torch.optim.SGD(self.weights, lr=1e-3)
        self.images = images(batch, 1, 28, 28)
        self.targets = targets(torch.randint(0, 10, (batch,)))

    def begin(self, start):
        put(start, {f"layer{i}.weight": weight for i, weight in zip((0, 2, 4, 5), self.weights)})
        self.images, self.targets = start["input"], targets(start["label"].long())

    def forward(self, images, meter=None):
        conv1, conv2, dense1, dense2 = self.weights
        neuron1, neuron2, neuron3 = (LeeNeuron(self.leak) for _ in range(3))
        pool1, pool2, answer = LeePool(), LeePool(), None
        train = (torch.rand(self.steps, *images.shape) < images / 2).float()
        for t in range(self.steps):
            a = neuron1.step(F.conv2d(train[t], conv1, padding=2))
            b = pool1.step(F.avg_pool2d(a, 2))
            c = neuron2.step(F.conv2d(b, conv2, padding=2))
            d = pool2.step(F.avg_pool2d(c, 2))
            e = neuron3.step(d.flatten(1) @ dense1.t())
            current = e @ dense2.t()
            answer = straight_leak(current if answer is None else answer + current, self.leak)
            if meter:
                for name, spikes in (("input", train[t]), ("layer0", a), ("layer1", b), ("layer2", c), ("layer3", d), ("layer4", e)):
                    meter.add(name, spikes)
        for neuron in (neuron1, neuron2, neuron3):
            neuron.close()
        return answer / self.steps

    def loss(self):
        return ((self.forward(self.images) - self.targets) ** 2).sum()


# ---------------------------------------------------------------- bpsta
class BpstaNeuron:
    threshold, decay, kappa = 0.5, 0.9, 0.2

    def __init__(self):
        self.membrane = None

    def step(self, current):
        membrane = current if self.membrane is None else self.membrane + current
        fired = membrane >= self.threshold
        spikes = torch.where(fired, membrane, torch.zeros_like(membrane))
        spikes = spikes / torch.where(fired, membrane.detach(), torch.ones_like(membrane))  # 1; derivative 1 / u
        rest = torch.where(fired, torch.zeros_like(membrane), membrane)
        self.membrane = (rest + self.kappa * (spikes - spikes.detach())) * self.decay
        return spikes


class Bpsta(Workload):
    """32C3p1-BN-ReLU-MP2-64C3p1-BN-ReLU-AP2-10x10, the image shown at every one of 8 steps, AdamW."""
    steps, tuned = 8, False

    def __init__(self, batch):
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.Conv2d(32, 64, 3, padding=1)
        self.norm1, self.norm2 = torch.nn.BatchNorm2d(32), torch.nn.BatchNorm2d(64)
        self.dense = torch.nn.Linear(64 * 49, 100)
        modules = (self.conv1, self.conv2, self.norm1, self.norm2, self.dense)
        self.optimizer = torch.optim.AdamW([p for module in modules for p in module.parameters()], lr=1e-3)
        self.normalisers = (self.norm1, self.norm2)
        self.images = images(batch, 1, 28, 28)
        self.targets = targets(torch.randint(0, 10, (batch,)))

    def begin(self, start):
        modules = {"layer0": self.conv1, "layer0.norm": self.norm1, "layer2": self.conv2, "layer2.norm": self.norm2, "layer4": self.dense}
        put(start, {f"{name}.{part}": getattr(module, part) for name, module in modules.items() for part in ("weight", "bias")})
        self.images, self.targets = start["input"], targets(start["label"].long())

    def first_current(self, images):
        return F.relu(self.norm1(self.conv1(images)))

    def forward(self, images, meter=None):
        neuron1, neuron2, neuron3 = BpstaNeuron(), BpstaNeuron(), BpstaNeuron()
        constant = self.first_current(images) if self.tuned else None
        answer = 0
        for t in range(self.steps):
            a = neuron1.step(constant if self.tuned else self.first_current(images))
            b = neuron2.step(F.relu(self.norm2(self.conv2(F.max_pool2d(a, 2)))))
            c = neuron3.step(self.dense(F.avg_pool2d(b, 2).flatten(1)))
            answer = answer + c.reshape(-1, 10, 10).mean(2)
            if meter:
                for name, spikes in (("layer0", a), ("layer2", b), ("layer4", c)):
                    meter.add(name, spikes)
        return answer / self.steps

    def loss(self):
        return ((self.forward(self.images) - self.targets) ** 2).mean()


class BpstaTuned(Bpsta):
    """The first layer's current is the same at every step: computed once. Its running statistics, updated once a batch,
    take the step that one update at every time step would have come to."""
    tuned = True

    def __init__(self, batch):
        super().__init__(batch)
        self.norm1.momentum = 1 - (1 - self.norm1.momentum) ** self.steps


# ---------------------------------------------------------------- decolle
class LocalSpike(torch.autograd.Function):
    """Step function with the derivative 1 / (10 |u| + 1)^2."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient / (10 * u.abs() + 1) ** 2


class DecolleLayer:
    alpha, beta, rho, refractory = 0.97, 0.92, 0.65, 1.0

    def __init__(self, weight, bias, readout, readout_bias):
        self.weight, self.bias, self.readout, self.readout_bias = weight, bias, readout, readout_bias
        self.p = self.q = self.r = self.s = None

    def step(self, x):
        if self.p is None:
            self.p = self.q = torch.zeros_like(x)
            self.r = self.s = torch.zeros(x.shape[0], self.weight.shape[0])
        self.p = self.alpha * self.p + (1 - self.alpha) * self.q
        self.q = self.beta * self.q + (1 - self.beta) * x
        self.r = self.rho * self.r - (1 - self.rho) * self.refractory * self.s
        u = self.p @ self.weight.t() + self.bias + self.r
        spikes = LocalSpike.apply(u)
        self.s = spikes.detach()
        return self.s, spikes @ self.readout.t() + self.readout_bias


class Decolle:
    """784-256-256-256, 100 steps, burn-in 10, an Adamax update after every later step."""
    steps, burn_in = 100, 10

    def __init__(self, batch):
        sizes = (784, 256, 256, 256)
        self.weights = [(torch.randn(o, i) * 2 / math.sqrt(i)).requires_grad_() for i, o in zip(sizes, sizes[1:])]
        self.biases = [torch.zeros(o, requires_grad=True) for o in sizes[1:]]
        self.readouts = [torch.randn(10, o) * 0.5 / math.sqrt(o) for o in sizes[1:]]
        self.readout_biases = [torch.zeros(10) for _ in sizes[1:]]
        self.optimizer = torch.optim.Adamax(self.weights + self.biases, lr=1e-3, betas=(0.0, 0.95))
        self.images = images(batch, 784)
        self.targets = targets(torch.randint(0, 10, (batch,)))

    def begin(self, start):
        for part, tensors in (("weight", self.weights), ("bias", self.biases), ("readout_weight", self.readouts),
                              ("readout_bias", self.readout_biases)):
            put(start, {f"layer{i}.{part}": tensor for i, tensor in enumerate(tensors)})
        self.images, self.targets = start["input"], targets(start["label"].long())

    def layers(self):
        return [DecolleLayer(*parts) for parts in zip(self.weights, self.biases, self.readouts, self.readout_biases)]

    def forward(self, images, meter=None):
        layers, total = self.layers(), 0
        for t in range(self.steps):
            x = (torch.rand(images.shape) < images / 2).float()
            if meter:
                meter.add("input", x)
            for i, layer in enumerate(layers):
                x, readout = layer.step(x)
                if meter:
                    meter.add(f"layer{i}", x)
            if t >= self.burn_in:
                total = total + readout.sigmoid()
        return total

    def losses(self, learning):
        """The sum over layers at each step after burn-in, while its graph lives."""
        layers = self.layers()
        for t in range(self.steps):
            x = (torch.rand(self.images.shape) < self.images / 2).float()
            with torch.set_grad_enabled(learning and t >= self.burn_in):
                loss = 0
                for layer in layers:
                    x, readout = layer.step(x)
                    if t >= self.burn_in:
                        loss = loss + F.smooth_l1_loss(readout, self.targets)
            if t >= self.burn_in:
                yield loss

    def loss(self):
        return sum(self.losses(False))

    def train(self):
        for loss in self.losses(True):
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


# ---------------------------------------------------------------- stdbp
def first_spikes(times, weight, threshold=1.0):
    """Times [B, I] (inf: silent) to times [B, O]: for every prefix of the inputs in time order the crossing it would
    give, then the first crossing that comes before the next input."""
    order = times.argsort(dim=1, stable=True)
    sorted_times = times.gather(1, order)
    live = torch.isfinite(sorted_times)
    known = torch.where(live, sorted_times, torch.zeros_like(sorted_times))
    sorted_weight = weight[:, order].permute(1, 0, 2) * live[:, None, :]  # [B, O, I]
    slope = sorted_weight.cumsum(2)
    moment = (sorted_weight * known[:, None, :]).cumsum(2)
    crossing = (threshold + moment) / torch.where(slope > 0, slope, torch.ones_like(slope))
    following = torch.cat([sorted_times[:, 1:], torch.full_like(sorted_times[:, :1], math.inf)], 1)[:, None, :]
    valid = (slope > 0) & live[:, None, :] & (crossing >= sorted_times[:, None, :]) & (crossing <= following)
    first = valid.to(torch.int8).argmax(2)
    found = crossing.gather(2, first[..., None])[..., 0]
    return torch.where(valid.any(2), found, torch.full_like(found, math.inf))


class Stdbp(Workload):
    """784-800-10, one spike a neuron, Adam. Holds [batch, out, in] arrays: a batch of 8, read the time a sample."""
    batch = 8

    def __init__(self, batch):
        self.weights = [((torch.randn(800, 784) + 0.3) / 28).requires_grad_(),
                        ((torch.randn(10, 800) + 1) / 28).requires_grad_()]
        self.optimizer = torch.optim.Adam(self.weights, lr=1e-3)
        shown = torch.rand(batch, 784) < DENSITY
        self.images = torch.where(shown, 1 - torch.rand(batch, 784), torch.full((batch, 784), math.inf))
        self.labels = torch.randint(0, 10, (batch,))

    def begin(self, start):
        put(start, {f"layer{i}.weight": weight for i, weight in enumerate(self.weights)})
        batch = len(self.images)
        self.images, self.labels = start["input"][:batch], start["label"][:batch].long()

    def forward(self, images, meter=None):
        hidden = first_spikes(images, self.weights[0])
        answer = first_spikes(hidden, self.weights[1])
        if meter:
            for name, times in (("input", images), ("layer0", hidden), ("layer1", answer)):
                meter.add(name, torch.isfinite(times))
        return answer

    def loss(self):
        times = self.forward(self.images)
        logits = -torch.where(torch.isfinite(times), times, torch.full_like(times, 10.0))
        return F.cross_entropy(logits, self.labels)


# ---------------------------------------------------------------- surrogate
class Atan(torch.autograd.Function):
    """Step function with the derivative 1 / (1 + (pi u)^2)."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient / (1 + (math.pi * u) ** 2)


class Surrogate(Workload):
    """784-1000-10, leak 0.95, 25 steps, pixels as constant current, loss on the last membrane at every step, Adam. A spike
    takes the threshold off the next step's membrane, as in snnTorch."""
    steps, leak, tuned = 25, 0.95, False

    def __init__(self, batch):
        self.dense1, self.dense2 = torch.nn.Linear(784, 1000), torch.nn.Linear(1000, 10)
        self.optimizer = torch.optim.Adam([*self.dense1.parameters(), *self.dense2.parameters()], lr=5e-4)
        self.images = images(batch, 784)
        self.labels = torch.randint(0, 10, (batch,))

    def begin(self, start):
        put(start, {f"layer{i}.{part}": getattr(module, part)
                    for i, module in enumerate((self.dense1, self.dense2)) for part in ("weight", "bias")})
        self.images, self.labels = start["input"], start["label"].long()

    def forward(self, images, meter=None, labels=None):
        constant = self.dense1(images) if self.tuned else None
        membrane1, membrane2 = torch.zeros(images.shape[0], 1000), torch.zeros(images.shape[0], 10)
        a, b = torch.zeros_like(membrane1), torch.zeros_like(membrane2)
        result = 0  # the loss if there are labels, else the last membranes, summed over the steps
        for t in range(self.steps):
            membrane1 = self.leak * membrane1 + (constant if self.tuned else self.dense1(images)) - a.detach()
            a = Atan.apply(membrane1 - 1)
            membrane2 = self.leak * membrane2 + self.dense2(a) - b.detach()
            b = Atan.apply(membrane2 - 1)
            result = result + (membrane2 if labels is None else F.cross_entropy(membrane2, labels))
            if meter:
                for name, spikes in (("layer0", a), ("layer1", b)):
                    meter.add(name, spikes)
        return result

    def loss(self):
        return self.forward(self.images, labels=self.labels)


class SurrogateTuned(Surrogate):
    """The first layer's current is the same at every step: computed once."""
    tuned = True


WORKLOADS = {"lee": Lee, "bpsta": Bpsta, "bpsta-tuned": BpstaTuned, "decolle": Decolle, "stdbp": Stdbp,
             "surrogate": Surrogate, "surrogate-tuned": SurrogateTuned}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--start")
    parser.add_argument("--rate-scale", type=float, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    kind = WORKLOADS[options.workload]
    batch = options.batch or getattr(kind, "batch", 64)
    network = kind(batch)
    if options.steps:
        network.steps = options.steps
    if options.start:
        network.begin(read_start(options.start))
    for group in network.optimizer.param_groups:
        group["lr"] *= options.rate_scale

    def evaluated(images, meter=None):
        """Normalisation by the batch's statistics when training, by the running ones here."""
        for layer in getattr(network, "normalisers", ()):
            layer.eval()
        with torch.no_grad():
            network.forward(images, meter)
        for layer in getattr(network, "normalisers", ()):
            layer.train()

    def rates():
        meter = Meter()
        evaluated(network.images, meter)
        return meter.rates()

    def loss():
        kept = copy.deepcopy(getattr(network, "normalisers", ()))
        with torch.no_grad():
            value = network.loss().item()
        for layer, before in zip(getattr(network, "normalisers", ()), kept):
            layer.load_state_dict(before.state_dict())
        return value

    commands = {"train": network.train, "infer": lambda: evaluated(network.images),
                "latency": lambda: evaluated(network.images[:1])}
    python = ".".join(str(part) for part in sys.version_info[:3])
    ready = {"peer": f"PyTorch {torch.__version__}, Python {python}", "threads": torch.get_num_threads(), "batch": len(network.images)}
    print(json.dumps({"ready": ready}), flush=True)
    for line in sys.stdin:
        command, times = (line.split() + ["1"])[:2]
        if command == "rates":
            answer = {"rates": rates()}
        elif command == "loss":
            answer = {"loss": loss()}
        elif command in commands:
            start, processor = time.perf_counter(), time.process_time()
            for _ in range(int(times)):
                commands[command]()
            answer = {"ms": (time.perf_counter() - start) * 1e3}
            answer["cpu_ms"] = (time.process_time() - processor) * 1e3
        else:
            answer = {"error": f"unknown command {command!r}; one of train, infer, latency, rates, loss"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
