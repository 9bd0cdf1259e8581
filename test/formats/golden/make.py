"""Makes the golden files, independently of Tersor: numpy writes npy and npz, gzip and struct the rest. Run in this folder: python3 make.py"""
import gzip, json, struct
import numpy as np

a = np.arange(24).reshape(2, 3, 4)
for code in ['<f8', '>f8', '<f4', '>f4', '<f2', '>f2', '<i8', '>i8', '<i4', '>i4', '<i2', '>i2', '<u2', '>u2', '|i1', '|u1', '|b1']:
    x = a % 2 == 1 if code == '|b1' else (a if 'u' in code else a - 12).astype(code)
    for order in 'CF':
        name = code.replace('<', 'le-').replace('>', 'be-').replace('|', '')
        np.save(f'{name}-{order.lower()}.npy', np.asarray(x, order=order))
np.save('scalar.npy', np.float32(3.5))
np.save('empty.npy', np.zeros((0, 3), 'f4'))
for version in [(2, 0), (3, 0)]:
    with open(f'version-{version[0]}.npy', 'wb') as f:
        np.lib.format.write_array(f, np.arange(5, dtype='i4'), version=version)
np.savez('stored.npz', x=a.astype('f4'), y=np.arange(3))
np.savez_compressed('deflated.npz', **{'x': np.zeros((40, 5), 'f4'), 'y': np.arange(3), 'na\u00efve': np.ones(2, 'f4')})

# safetensors, by hand from the format's description
w, b, e = np.arange(6, dtype='<f4').reshape(2, 3), np.array([1, -2], '<i8'), np.zeros((0, 4), '<f2')
header = {'__metadata__': {'format': 'pt', 'note': 'caf\u00e9 "1"'},
          'w': {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [16, 40]},
          'b': {'dtype': 'I64', 'shape': [2], 'data_offsets': [0, 16]},
          'e': {'dtype': 'F16', 'shape': [0, 4], 'data_offsets': [40, 40]}}
text = json.dumps(header, ensure_ascii=False).encode()
text += b' ' * (-len(text) % 8)
open('two.safetensors', 'wb').write(struct.pack('<Q', len(text)) + text + b.tobytes() + w.tobytes() + e.tobytes())

# idx: big-endian, as the MNIST page describes it
idx = bytes([0, 0, 0x08, 3]) + struct.pack('>III', 2, 3, 4) + a.astype('u1').tobytes()
open('bytes-idx3-ubyte', 'wb').write(idx)
open('bytes-idx3-ubyte.gz', 'wb').write(gzip.compress(idx, mtime=0))
open('floats.idx', 'wb').write(bytes([0, 0, 0x0D, 2]) + struct.pack('>II', 2, 2) + np.array([1.5, -2, 3, 4], '>f4').tobytes())

# tfjs: weights split in the middle of elements, quantised and plain
f = np.arange(5, dtype='<f4')
i = np.array([1, -1, 7], '<i4')
data = f.tobytes() + i.tobytes() + bytes([1, 0, 1]) + bytes([0, 128, 255]) + struct.pack('<HH', 0, 65535) + np.array([1.5, -0.25], '<f2').tobytes() + bytes([3, 4])
model = {'format': 'graph-model', 'generatedBy': 'hand', 'modelTopology': {'node': [{'name': 'x'}]}, 'signature': {'inputs': {}},
         'weightsManifest': [{'paths': ['group1-shard1of3', 'group1-shard2of3', 'group1-shard3of3'], 'weights': [
             {'name': 'f', 'shape': [5], 'dtype': 'float32'}, {'name': 'i', 'shape': [3], 'dtype': 'int32'},
             {'name': 'flags', 'shape': [3], 'dtype': 'bool'},
             {'name': 'q8', 'shape': [3], 'dtype': 'float32', 'quantization': {'dtype': 'uint8', 'scale': 0.5, 'min': -1}},
             {'name': 'q16', 'shape': [2, 1], 'dtype': 'float32', 'quantization': {'dtype': 'uint16', 'scale': 0.125, 'min': 2}},
             {'name': 'half', 'shape': [2], 'dtype': 'float32', 'quantization': {'dtype': 'float16', 'original_dtype': 'float32'}},
             {'name': 'bytes', 'shape': [2], 'dtype': 'uint8'}]}]}
json.dump(model, open('tfjs-model', 'w'))
for n, (start, end) in enumerate([(0, 7), (7, 33), (33, len(data))]):
    open(f'group1-shard{n + 1}of3', 'wb').write(data[start:end])
