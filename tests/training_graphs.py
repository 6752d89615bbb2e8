"""Whole networks of every family that training supports, in ONNX's text syntax."""

NETWORKS: dict[str, str] = {
    "cnn": """g (float[N,2,8,8] x) => (float[M,K] y)
    <float[4,2,3,3] w, float[4] b, float[4] s, float[4] t, float[4] m,
     float[4] v = {1.0, 2.0, 0.5, 0.7}, float[6,1,3,3] u, float[6,4,1,1] q, float[24,3] f,
     float[3] c, float[6,1,1] p> {
      h = Conv <auto_pad = "SAME_LOWER", strides = [2,2]> (x, w, b)
      n = BatchNormalization (h, s, t, m, v)
      r = Relu (n)
      l = LRN <size = 3> (r)
      k = Conv (l, q)
      d = Conv <group = 6, pads = [1,1,1,1]> (k, u)
      e = PRelu (d, p)
      a = MaxPool <kernel_shape = [2,2], strides = [2,2], ceil_mode = 1> (e)
      z = AveragePool <kernel_shape = [2,2], pads = [0,0,1,1], strides = [1,1]> (a)
      i = Flatten (z)
      o = Gemm (i, f, c)
      y = LogSoftmax (o)
    }""",
    "unet": """g (float[N,2,8,8] x) => (float[M,K,H,W] y)
    <float[4,2,3,3] w, float[4] b, float[6,4,3,3] u, float[6] d, float[6,4,2,2] v, float[4] f,
     float[4] s, float[4] t, float[3,14,1,1] o,
     float[4] up = {1.0, 1.0, 2.0, 2.0}, float[0] none> {
      h = Conv <pads = [1,1,1,1]> (x, w, b)
      a = LeakyRelu <alpha = 0.1> (h)
      i = Conv <pads = [1,1,1,1], strides = [2,2]> (a, u, d)
      e = Gelu (i)
      j = ConvTranspose <strides = [2,2]> (e, v, f)
      n = GroupNormalization <num_groups = 2> (j, s, t)
      k = Resize <mode = "cubic"> (e, none, up)
      c = Concat <axis = 1> (a, n, k)
      y = Conv (c, o)
    }""",
    "transformer": """g (int64[N,5] x) => (float[M,K] y)
    <float[9,8] table, float[1,6,8] position, float[1,1,8] token, float[8,24] qkv, float[24] qb,
     float[8,8] wo, float[8] bo, float[8] s1, float[8] t1, float[8] s2, float[8] t2,
     float[8,12] w1, float[12] b1, float[12,8] w2, float[8] b2, float[8,3] head,
     float scale = {0.5}, int64[1] zero = {0}, int64[1] one = {1}, int64[3] cls = {-1, 1, 8},
     int64[5] parts = {0, -1, 3, 2, 4}, int64[3] back = {0, -1, 8}, int64 first = {0}> {
      embedded = Gather (table, x)
      shape = Shape (x)
      batch = Slice (shape, zero, one)
      tail = Slice (cls, one, three)
      full = Concat <axis = 0> (batch, tail)
      class = Expand (token, full)
      tokens = Concat <axis = 1> (class, embedded)
      h = Add (tokens, position)
      n = LayerNormalization (h, s1, t1)
      p = MatMul (n, qkv)
      pb = Add (p, qb)
      apart = Reshape (pb, parts)
      heads = Transpose <perm = [2,0,3,1,4]> (apart)
      q, k, v = Split <axis = 0, num_outputs = 3> (heads)
      kt = Transpose <perm = [0,1,2,4,3]> (k)
      raw = MatMul (q, kt)
      scaled = Mul (raw, scale)
      weights = Softmax (scaled)
      mixed = MatMul (weights, v)
      lone = Squeeze (mixed, zero)
      turned = Transpose <perm = [0,2,1,3]> (lone)
      flat = Reshape (turned, back)
      out = MatMul (flat, wo)
      outb = Add (out, bo)
      h2 = Add (h, outb)
      n2 = LayerNormalization (h2, s2, t2)
      m = MatMul (n2, w1)
      mb = Add (m, b1)
      g = Gelu <approximate = "tanh"> (mb)
      f = MatMul (g, w2)
      fb = Add (f, b2)
      h3 = Add (h2, fb)
      c = Gather <axis = 1> (h3, first)
      y = MatMul (c, head)
    }""".replace("int64 first", "int64[1] three = {3}, int64 first"),
    "spatial": """g (float[N,1,6,6] x) => (float[M,K] y)
    <float[2,1,3,3] w, float[32,6] f, float[6] b, int64[3] t = {-1, 2, 3}, float[3,1,3,3] u,
     float[3,4] o> {
      c = Conv (x, w)
      a = Tanh (c)
      i = Flatten (a)
      l = Gemm (i, f, b)
      small = Tanh (l)
      theta = Reshape (small, t)
      size = Shape (x)
      grid = AffineGrid (theta, size)
      s = GridSample <mode = "linear"> (x, grid)
      d = Conv (s, u)
      r = Relu (d)
      p = GlobalAveragePool (r)
      q = Flatten (p)
      y = MatMul (q, o)
    }""",
    "recurrent": """g (float[7,N,3] x) => (float[M,K] y)
    <float[2,16,3] w, float[2,16,4] r, float[2,32] b, float[1,15,8] v, float[1,15,5] u,
     float[1,5,8] d, float[1,5,5] e, float[5,2] o, int64[3] s = {0, 0, -1}, int64[1] zero = {0},
     int64[1] last = {-1}, int64[1] end = {9223372036854775807}> {
      h = LSTM <hidden_size = 4, direction = "bidirectional"> (x, w, r, b)
      t = Transpose <perm = [0,2,1,3]> (h)
      f = Reshape (t, s)
      g, gh = GRU <hidden_size = 5, linear_before_reset = 1> (f, v, u)
      n, nh = RNN <hidden_size = 5, direction = "reverse"> (f, d, e)
      a = Add (gh, nh)
      q = Squeeze (a, zero)
      y = MatMul (q, o)
    }""",
    "quantised": """g (float[N,4] x) => (float[M,K] y)
    <float[4,5] w, float[5] b, float[5,3] v, float[5] sv = {0.5, 0.25, 0.3, 0.4, 0.2},
     float sx = {0.05}, uint8 zx = {128}, int8[5] zv = {0, 0, 0, 0, 0},
     float step = {0.1}, float low = {-7.0}, float high = {7.0}> {
      c = QuantizeLinear (x, sx, zx)
      d = DequantizeLinear (c, sx, zx)
      h = Gemm (d, w, b)
      j = Div (h, step)
      k = Round (j)
      l = Clip (k, low, high)
      m = Mul (l, step)
      e = QuantizeLinear <axis = 0> (v, sv, zv)
      f = DequantizeLinear <axis = 0> (e, sv, zv)
      y = MatMul (m, f)
    }""",
}
"""Name -> text; tensors without numbers are drawn by `onnx_text.proto_of`."""
