# Makes blocks.gguf with Python's gguf (pip install gguf): every block format, each with the values that gguf.quants reads from it
# as a tensor NAME.values beside it, plain types, and a metadata value of every type.
import os
import gguf
import numpy as np
from gguf import GGMLQuantizationType as T, GGUFValueType as V

rng = np.random.default_rng(7)
w = gguf.GGUFWriter(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'blocks.gguf'), 'tiny')
for kind, value in [('UINT8', 200), ('INT8', -100), ('UINT16', 60000), ('INT16', -30000), ('UINT32', 4000000000), ('INT32', -2000000000),
                    ('FLOAT32', 0.5), ('BOOL', True), ('STRING', 'naïve ☃'), ('UINT64', 2**63 + 1), ('INT64', -2**62 - 1), ('FLOAT64', 0.1)]:
    w.add_key_value('test.' + kind.lower(), value, V[kind])
w.add_array('test.strings', ['a', '', 'Ġthe'])
w.add_array('test.integers', [1, -2, 3])
w.add_array('test.floats', [1.5, -2.5])
w.add_array('test.booleans', [True, False, True])

x = rng.normal(size=(2, 256)).astype(np.float32)
for name, t in [('q8_0', T.Q8_0), ('q4_0', T.Q4_0), ('q4_1', T.Q4_1)]:
    data = gguf.quants.quantize(x[:, :64] * [[1], [-3]], t)
    w.add_tensor(name, data, raw_dtype=t)
    w.add_tensor(name + '.values', gguf.quants.dequantize(data, t))
for name, t, at in [('q4_k', T.Q4_K, [0, 2]), ('q6_k', T.Q6_K, [208])]:
    data = rng.integers(0, 256, size=(2, gguf.GGML_QUANT_SIZES[t][1]), dtype=np.uint8)
    for i in at: data[:, i:i + 2] = np.array([0.01, -0.3], np.float16).view(np.uint8).reshape(2, 2)
    w.add_tensor(name, data, raw_dtype=t)
    w.add_tensor(name + '.values', gguf.quants.dequantize(data, t))
w.add_tensor('f32', x[:, :3])
w.add_tensor('f16', x[:1, :3].astype(np.float16))
w.add_tensor('bf16', gguf.quants.quantize(x[:, :4], T.BF16), raw_dtype=T.BF16)
w.add_tensor('i32', np.arange(6, dtype=np.int32).reshape(1, 2, 3))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
