#include "pipeline/models/cpu_kernels.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "pipeline/models/attention.h"
#include "pipeline/models/cpu_attention.h"
#include "pipeline/models/cpu_conv.h"
#include "pipeline/models/cpu_winograd.h"
#include "tests/pipeline/weights/golden.h"

namespace reenact {
namespace {

using testing::Near;
using torch::Tensor;

template <typename E>
class CpuKernelsTest : public ::testing::Test {
 protected:
  static constexpr bool kSingle = std::is_same_v<E, float>;
  static constexpr auto kType = kSingle ? torch::kFloat32 : torch::kBFloat16;
  // Of results in E and of sums of products of E, relative to the largest.
  static constexpr double kTolerance = kSingle ? 5e-6 : 1e-2;

  void SetUp() override {
    if (!HasAvx512<E>()) GTEST_SKIP() << "this processor lacks the instructions";
    torch::manual_seed(1);
  }

  static E* Data(const Tensor& x) { return static_cast<E*>(x.data_ptr()); }
  static float* Floats(const Tensor& x) { return x.data_ptr<float>(); }
  // Random values that E holds exactly.
  static Tensor Random(at::IntArrayRef sizes) { return torch::randn(sizes).to(kType); }
};
using Elements = ::testing::Types<float, Bfloat16>;
TYPED_TEST_SUITE(CpuKernelsTest, Elements);

TEST(Bfloat16Test, RoundsAsLibtorchDoes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {0.0f,    -0.0f,  1.0f,      1.00390625f, 1.01171875f,
                               3.4e38f, 1e-40f, kInfinity, -kInfinity};
  for (int i = 0; i < 1000; ++i) values.push_back(std::sin(static_cast<float>(i)) * 100);
  for (const float value : values) {
    EXPECT_EQ(ToBfloat16(value).bits, c10::BFloat16(value).x) << value;
    EXPECT_EQ(ToFloat(ToBfloat16(value)), static_cast<float>(c10::BFloat16(value))) << value;
  }
  EXPECT_TRUE(std::isnan(ToFloat(ToBfloat16(std::nanf("")))));
}

TYPED_TEST(CpuKernelsTest, LinearEqualsLibtorch) {
  using E = TypeParam;
  using Kind = typename LinearOutput<E>::Kind;
  for (const std::array<int64_t, 3>& shape : std::vector<std::array<int64_t, 3>>{
           {1, 2, 1}, {5, 16, 3}, {6, 8, 64}, {13, 30, 65}, {20, 66, 100}, {48, 130, 192}}) {
    const int64_t rows = shape[0], in = shape[1], out = shape[2];
    SCOPED_TRACE(::testing::Message() << rows << " " << in << " " << out);
    const Tensor x = this->Random({rows, in}), weight = this->Random({out, in});
    const Tensor bias = torch::randn({out}), gates = torch::randn({3, out});
    const Tensor weight_float = weight.to(torch::kFloat32).contiguous();
    const auto layer = PackLinear<E>(this->Floats(weight_float), this->Floats(bias), out, in);
    const Tensor y = torch::linear(x.to(torch::kFloat32), weight_float, bias);
    const Tensor stored = torch::empty({rows, out}, this->kType);
    const Tensor floats = torch::randn({rows, out}), before = floats.clone();
    const auto run = [&](Kind kind) {
      Linear<E>(
          layer, this->Data(x), in, rows,
          {.kind = kind,
           .to = this->Data(stored),
           .to_float = this->Floats(floats),
           .stride = out,
           .gates = {.data = this->Floats(gates), .stride = out, .rows_each = 8, .first_row = 1}});
    };

    run(Kind::kGatedAdd);
    const Tensor which = torch::div(torch::arange(1, rows + 1), 8, "floor").clamp_max(2);
    if (rows <= 20) {
      EXPECT_TRUE(Near(floats, before + gates.index_select(0, which) * y, 2e-6));
    }
    run(Kind::kFloat);
    EXPECT_TRUE(Near(floats, y, 2e-6));
    run(Kind::kStore);
    EXPECT_TRUE(Near(stored, y, this->kTolerance));
    run(Kind::kTanhGelu);
    EXPECT_TRUE(Near(stored, torch::gelu(y, "tanh"), this->kTolerance));
  }
}

TYPED_TEST(CpuKernelsTest, GeluIsFiniteForLargeInputs) {
  using E = TypeParam;
  const Tensor weight = torch::eye(2);
  const auto layer = PackLinear<E>(this->Floats(weight), std::vector<float>(2).data(), 2, 2);
  const Tensor x =
      torch::tensor({1e4f, -1e4f, 1e15f, -1e15f, 0.0f, -0.0f}).view({3, 2}).to(this->kType);
  const Tensor y = torch::empty({3, 2}, this->kType);
  Linear<E>(layer, this->Data(x), 2, 3,
            {.kind = LinearOutput<E>::Kind::kTanhGelu, .to = this->Data(y), .stride = 2});
  const Tensor expected = x.to(torch::kFloat32).clamp_min(0);
  EXPECT_TRUE(torch::allclose(y.to(torch::kFloat32), expected, /*rtol=*/4e-3, /*atol=*/0));
}

TYPED_TEST(CpuKernelsTest, NormModulateEqualsLibtorch) {
  using E = TypeParam;
  for (const int64_t size : {2, 16, 36, 256}) {
    const Tensor x = 3 + torch::randn({10, size}), vectors = torch::randn({3, 2, size});
    const Tensor y = torch::empty({10, size}, this->kType);
    NormModulate<E>(this->Floats(x), size, 10,
                    {.data = this->Floats(vectors), .stride = 2 * size, .rows_each = 4},
                    this->Floats(vectors) + size, this->Data(y));
    const Tensor each = vectors.repeat_interleave(4, 0).narrow(0, 0, 10);
    const Tensor normed = torch::layer_norm(x, {size}, {}, {}, 1e-6);
    EXPECT_TRUE(
        Near(y, normed * (1 + each.select(1, 1)) + each.select(1, 0), this->kSingle ? 1e-5 : 1e-2))
        << size;
  }
}

// Attention of `num_queries` to parts of the given token counts, and what libtorch makes of it.
template <typename E>
struct AttentionCase {
  HeadShape shape;
  std::vector<Tensor> k, v, packed;  // for each part
  Tensor q;

  AttentionCase(const HeadShape& heads, const std::vector<int64_t>& counts, int64_t num_queries,
                double scale, torch::Dtype type)
      : shape(heads) {
    const int64_t D = shape.num_heads * shape.head_size;
    q = (scale * torch::randn({num_queries, D})).to(type);
    for (const int64_t count : counts) {
      const Tensor kv = torch::randn({count, 2 * D}).to(type);
      packed.push_back(torch::empty({PackedKeyValuesSize(shape, count)}, type));
      const E* data = static_cast<const E*>(kv.data_ptr());
      PackKeyValues<E>(shape, data, data + D, 2 * D, count, 0, shape.num_heads,
                       static_cast<E*>(packed.back().data_ptr()));
      k.push_back(kv.narrow(1, 0, D));
      v.push_back(kv.narrow(1, D, D));
    }
  }

  Tensor Run(int64_t begin, int64_t count) const {
    const int64_t D = shape.num_heads * shape.head_size;
    std::vector<PackedKeyValues<E>> parts;
    for (size_t i = 0; i < packed.size(); ++i) {
      parts.push_back({static_cast<const E*>(packed[i].data_ptr()), k[i].size(0)});
    }
    const Tensor out = torch::empty({count, D}, q.scalar_type());
    AlignedBuffer<float> scratch;
    Attend<E>(shape, static_cast<const E*>(q.data_ptr()) + begin * D, D, count, parts,
              static_cast<E*>(out.data_ptr()), D, &scratch);
    return out;
  }

  Tensor Expected() const {
    const auto split = [&](const Tensor& x) {
      return SplitHeads(x.to(torch::kFloat32).unsqueeze(0), shape.num_heads);
    };
    return MergeHeads(ReferenceAttention(split(q), split(torch::cat(k)), split(torch::cat(v))))[0];
  }
};

TYPED_TEST(CpuKernelsTest, AttentionEqualsTheFormula) {
  const std::vector<std::vector<int64_t>> counts = {{1},       {16},   {33, 5}, {7, 1, 90},
                                                    {640, 64}, {1500}, {639, 2}};
  for (const int64_t head_size : {2, 8, 16, 32, 34, 64, 72, 130}) {
    for (const auto& parts : counts) {
      SCOPED_TRACE(::testing::Message() << head_size << " " << parts[0]);
      const AttentionCase<TypeParam> attention({2, head_size}, parts, 17, 2.0, this->kType);
      EXPECT_TRUE(Near(attention.Run(0, 17), attention.Expected(), this->kTolerance));
    }
  }
}

TYPED_TEST(CpuKernelsTest, AttentionOfExtremeScoresPicksTheLargest) {
  const AttentionCase<TypeParam> attention({2, 32}, {700, 30}, 13, 1e4, this->kType);
  EXPECT_TRUE(Near(attention.Run(0, 13), attention.Expected(), this->kTolerance));
}

TYPED_TEST(CpuKernelsTest, AQueryDoesNotDependOnItsCompany) {
  const AttentionCase<TypeParam> attention({3, 24}, {50, 9}, 29, 1.0, this->kType);
  const Tensor together = attention.Run(0, 29);
  for (const int64_t begin : {0, 7, 28}) {
    EXPECT_TRUE(torch::equal(attention.Run(begin, 1), together.narrow(0, begin, 1)));
  }
  EXPECT_TRUE(torch::equal(attention.Run(3, 25), together.narrow(0, 3, 25)));
}

struct ConvShape {
  int64_t in, out, height, width;
};
const ConvShape kConvShapes[] = {{4, 32, 5, 16}, {6, 3, 1, 1},     {16, 16, 4, 7},
                                 {32, 70, 3, 9}, {128, 96, 2, 32}, {20, 130, 3, 13}};

TYPED_TEST(CpuKernelsTest, ConvolutionsEqualLibtorch) {
  using E = TypeParam;
  using Kind = typename ConvOutput<E>::Kind;
  for (const ConvShape& s : kConvShapes) {
    for (const int64_t kernel : {1, 3}) {
      SCOPED_TRACE(::testing::Message() << s.in << " " << s.out << " " << s.width << " " << kernel);
      const Tensor x = this->Random({s.height, s.width, s.in}).to(torch::kFloat32).contiguous();
      const Tensor weight =
          this->Random({s.out, s.in, kernel, kernel}).to(torch::kFloat32).contiguous();
      const Tensor bias = torch::randn({s.out});
      const Tensor nchw = x.permute({2, 0, 1}).unsqueeze(0);
      const Tensor expected =
          torch::conv2d(nchw, weight, bias, 1, kernel / 2)[0].permute({1, 2, 0});
      const auto conv = PackConv<E>(this->Floats(weight), this->Floats(bias), s.out, s.in, kernel);
      BorderedPicture<E> picture;
      CopyPicture(this->Floats(x), s.height, s.width, s.in, &picture);
      const Tensor floats = torch::ones({s.height, s.width, s.out});
      const Tensor stored = torch::empty({s.height, s.width, s.out}, this->kType);
      ChannelSums sums(s.out);
      const auto run = [&](Kind kind, ChannelSums* to) {
        Convolve<E>(conv, picture,
                    {.kind = kind,
                     .to = this->Data(stored),
                     .to_float = this->Floats(floats),
                     .pixel_stride = s.out,
                     .row_stride = s.out * s.width,
                     .sums = to});
      };

      run(Kind::kAdd, nullptr);
      EXPECT_TRUE(Near(floats, expected + 1, 2e-6));
      run(Kind::kStore, nullptr);
      EXPECT_TRUE(Near(stored, expected, this->kTolerance));
      run(Kind::kFloat, &sums);
      EXPECT_TRUE(Near(floats, expected, 2e-6));
      const Tensor flat = expected.reshape({-1, s.out}).to(torch::kFloat64);
      EXPECT_TRUE(Near(torch::tensor(sums.values, torch::kFloat64), flat.sum(0), 1e-5));
      EXPECT_TRUE(Near(torch::tensor(sums.squares, torch::kFloat64), flat.square().sum(0), 1e-5));
      const ChannelSums again = SumChannels(this->Floats(floats), s.height * s.width, s.out);
      EXPECT_TRUE(Near(torch::tensor(again.values), torch::tensor(sums.values), 1e-5));
      EXPECT_TRUE(Near(torch::tensor(again.squares), torch::tensor(sums.squares), 1e-5));
    }
  }
}

TYPED_TEST(CpuKernelsTest, DoublingConvolutionEqualsDoublingAndConvolving) {
  using E = TypeParam;
  for (const ConvShape& s : kConvShapes) {
    SCOPED_TRACE(::testing::Message() << s.in << " " << s.out << " " << s.width);
    const Tensor x = this->Random({s.height, s.width, s.in}).to(torch::kFloat32).contiguous();
    const Tensor weight = torch::randn({s.out, s.in, 3, 3}), bias = torch::randn({s.out});
    const Tensor doubled =
        torch::upsample_nearest2d(x.permute({2, 0, 1}).unsqueeze(0), {2 * s.height, 2 * s.width});
    const Tensor expected = torch::conv2d(doubled, weight, bias, 1, 1)[0].permute({1, 2, 0});
    BorderedPicture<E> picture;
    CopyPicture(this->Floats(x), s.height, s.width, s.in, &picture);
    const Tensor y = torch::empty({2 * s.height, 2 * s.width, s.out});
    const auto convs = PackDoublingConv<E>(this->Floats(weight), this->Floats(bias), s.out, s.in);
    ASSERT_EQ(convs.size(), 4u);
    for (int64_t i = 0; i < 4; ++i) {
      Convolve<E>(convs[static_cast<size_t>(i)], picture,
                  {.kind = ConvOutput<E>::Kind::kFloat,
                   .to_float = this->Floats(y) + (i / 2 * 2 * s.width + i % 2) * s.out,
                   .pixel_stride = 2 * s.out,
                   .row_stride = 4 * s.width * s.out});
    }
    EXPECT_TRUE(Near(y, expected, this->kTolerance));
  }
}

TYPED_TEST(CpuKernelsTest, NormSiluAndWinogradEqualLibtorch) {
  using E = TypeParam;
  for (const ConvShape& s : kConvShapes) {
    SCOPED_TRACE(::testing::Message() << s.in << " " << s.out << " " << s.width);
    const Tensor x = 1 + torch::randn({s.height, s.width, s.in});
    const Tensor weight = torch::randn({s.out, s.in, 3, 3}), bias = torch::randn({s.out});
    const Tensor gamma = torch::randn({s.in}), beta = torch::randn({s.in});
    const Tensor nchw = x.permute({2, 0, 1}).unsqueeze(0);
    const Tensor normed = torch::silu(torch::group_norm(nchw, 2, gamma, beta, 1e-6));
    const Tensor expected = torch::conv2d(normed, weight, bias, 1, 1)[0].permute({1, 2, 0});
    const ChannelAffine affine =
        GroupNormAffine(SumChannels(this->Floats(x), s.height * s.width, s.in), s.height * s.width,
                        2, this->Floats(gamma), this->Floats(beta));
    const Tensor y = torch::empty({s.height, s.width, s.out});
    const ConvOutput<E> output = {.kind = ConvOutput<E>::Kind::kFloat,
                                  .to_float = this->Floats(y),
                                  .pixel_stride = s.out,
                                  .row_stride = s.out * s.width};
    const double tolerance = this->kSingle ? 1e-5 : 2e-2;

    BorderedPicture<E> bordered;
    AffineActivate<E>(this->Floats(x), s.height, s.width, s.in, affine, PictureActivation::kSilu,
                      &bordered);
    Convolve<E>(PackConv<E>(this->Floats(weight), this->Floats(bias), s.out, s.in, 3), bordered,
                output);
    EXPECT_TRUE(Near(y, expected, tolerance));

    PairedPicture<E> paired;
    AffineActivate<E>(this->Floats(x), s.height, s.width, s.in, affine, PictureActivation::kSilu,
                      &paired);
    ChannelSums sums(s.out);
    ConvOutput<E> with_sums = output;
    with_sums.sums = &sums;
    Convolve<E>(PackWinogradConv<E>(this->Floats(weight), this->Floats(bias), s.out, s.in), paired,
                with_sums);
    EXPECT_TRUE(Near(y, expected, tolerance));
    const Tensor flat = y.reshape({-1, s.out}).to(torch::kFloat64);
    EXPECT_TRUE(Near(torch::tensor(sums.values, torch::kFloat64), flat.sum(0), 1e-5));
    EXPECT_TRUE(Near(torch::tensor(sums.squares, torch::kFloat64), flat.square().sum(0), 1e-5));
  }
}

TYPED_TEST(CpuKernelsTest, PicturesMayShrinkAndGrow) {
  using E = TypeParam;
  const Tensor weight = torch::randn({8, 8, 3, 3}), bias = torch::randn({8});
  const auto conv = PackConv<E>(this->Floats(weight), this->Floats(bias), 8, 8, 3);
  BorderedPicture<E> reused;
  for (const auto& size :
       std::vector<std::pair<int64_t, int64_t>>{{6, 6}, {2, 9}, {6, 3}, {1, 1}, {7, 8}}) {
    const int64_t height = size.first, width = size.second;
    const Tensor x = torch::randn({height, width, 8});
    const auto run = [&](BorderedPicture<E>* picture) {
      CopyPicture(this->Floats(x), height, width, 8, picture);
      const Tensor y = torch::empty({height, width, 8});
      Convolve<E>(conv, *picture,
                  {.kind = ConvOutput<E>::Kind::kFloat,
                   .to_float = this->Floats(y),
                   .pixel_stride = 8,
                   .row_stride = 8 * width});
      return y;
    };
    BorderedPicture<E> fresh;
    EXPECT_TRUE(torch::equal(run(&reused), run(&fresh)));
  }
}

}  // namespace
}  // namespace reenact
