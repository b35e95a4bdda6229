#include "pipeline/face/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "pipeline/face/attention_ops.h"
#include "tests/pipeline/face/tflite_writer.h"

namespace reenact {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::FlexMapBytes;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using testing::TfliteWriter;

using Fields = TfliteWriter::Fields;

constexpr int kSame = 0;
constexpr int kValid = 1;
constexpr int kReluCode = 1;
constexpr int kRelu6Code = 3;

Fields ConvOptions(int padding, int stride, int activation = 0, int dilation = 1) {
  return {{0, 1, padding, false},    {1, 4, stride, false},   {2, 4, stride, false},
          {3, 1, activation, false}, {4, 4, dilation, false}, {5, 4, dilation, false}};
}
Fields DepthwiseOptions(int padding, int stride, int activation = 0, int dilation = 1) {
  return {{0, 1, padding, false}, {1, 4, stride, false},     {2, 4, stride, false},
          {3, 4, 1, false},       {4, 1, activation, false}, {5, 4, dilation, false},
          {6, 4, dilation, false}};
}
Fields PoolOptions(int padding, int stride, int filter) {
  return {{0, 1, padding, false},
          {1, 4, stride, false},
          {2, 4, stride, false},
          {3, 4, filter, false},
          {4, 4, filter, false}};
}

// Runs the file's only input through, with one set of kernels.
std::vector<float> RunModel(const TfliteWriter& writer, const std::vector<float>& input,
                            const Kernels& kernels = BestKernels(), size_t output = 0) {
  auto network = Network::Create(writer.Write(), kernels);
  EXPECT_TRUE(network.ok()) << network.status();
  if (!network.ok()) return {};
  EXPECT_EQ((*network)->input(0).size(), input.size());
  std::copy(input.begin(), input.end(), (*network)->input(0).begin());
  (*network)->Run();
  const auto result = (*network)->output(output);
  return {result.begin(), result.end()};
}

std::string Problem(const TfliteWriter& writer) {
  const auto network = Network::Create(writer.Write());
  EXPECT_EQ(network.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(network.status().message());
}

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 bits(seed);
  std::uniform_real_distribution<float> value(-1, 1);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = value(bits);
  return numbers;
}

TEST(ConvTest, SumsOverTheWindowInRowMajorOrder) {
  TfliteWriter w;
  const int x = w.Input({1, 2, 2, 1});
  const int filter = w.Constant({1, 2, 2, 1}, std::vector<float>{1, 10, 100, 1000});
  const int bias = w.Constant({1}, std::vector<float>{0.5f});
  w.Output(w.Op(3, {x, filter, bias}, {1, 1, 1, 1}, ConvOptions(kValid, 1)));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4}), ElementsAre(4321.5f));
}

TEST(ConvTest, SamePaddingPutsTheOddPixelAfter) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 4, 1});
  // Stride 2 on 4 pixels with 3 taps: 1 pixel of padding in all, and it goes to the right.
  const int filter = w.Constant({1, 1, 3, 1}, std::vector<float>{1, 10, 100});
  w.Output(w.Op(3, {x, filter}, {1, 1, 2, 1}, ConvOptions(kSame, 2)));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4}), ElementsAre(321, 43));
}

TEST(ConvTest, SamePaddingOfEvenTotalIsSplit) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 3, 1});
  const int filter = w.Constant({1, 1, 3, 1}, std::vector<float>{1, 10, 100});
  w.Output(w.Op(3, {x, filter}, {1, 1, 3, 1}, ConvOptions(kSame, 1)));

  EXPECT_THAT(RunModel(w, {1, 2, 3}), ElementsAre(210, 321, 32));
}

TEST(ConvTest, DilationSkipsPixels) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 5, 1});
  const int filter = w.Constant({1, 1, 3, 1}, std::vector<float>{1, 10, 100});
  w.Output(w.Op(3, {x, filter}, {1, 1, 1, 1}, ConvOptions(kValid, 1, 0, 2)));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4, 5}), ElementsAre(531));
}

TEST(ConvTest, FusedActivationsCut) {
  for (const auto& [code, high] : {std::pair(kReluCode, 9.0f), std::pair(kRelu6Code, 6.0f)}) {
    TfliteWriter w;
    const int x = w.Input({1, 1, 2, 1});
    const int filter = w.Constant({1, 1, 1, 1}, std::vector<float>{1});
    w.Output(w.Op(3, {x, filter}, {1, 1, 2, 1}, ConvOptions(kValid, 1, code)));

    EXPECT_THAT(RunModel(w, {-9, 9}), ElementsAre(0, high));
  }
}

TEST(DepthwiseTest, SamePaddingPutsTheOddPixelAfter) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 4, 2});
  const int filter = w.Constant({1, 1, 3, 2}, std::vector<float>{1, -1, 10, -10, 100, -100});
  w.Output(w.Op(4, {x, filter}, {1, 1, 2, 2}, DepthwiseOptions(kSame, 2)));

  EXPECT_THAT(RunModel(w, {1, 1, 2, 2, 3, 3, 4, 4}), ElementsAre(321, -321, 43, -43));
}

// A convolution as its definition says, for the comparison with the kernels.
std::vector<float> PlainConv(const std::vector<float>& in, int size, int channels,
                             const std::vector<float>& filter, int taps, int outputs, int stride,
                             bool depthwise, const std::vector<float>& bias) {
  const int out_size = (size + stride - 1) / stride;
  const int pad = std::max((out_size - 1) * stride + taps - size, 0) / 2;
  std::vector<float> out;
  for (int y = 0; y < out_size; ++y) {
    for (int x = 0; x < out_size; ++x) {
      for (int o = 0; o < outputs; ++o) {
        double sum = bias[o];
        for (int i = 0; i < taps; ++i) {
          for (int j = 0; j < taps; ++j) {
            const int iy = y * stride - pad + i;
            const int ix = x * stride - pad + j;
            if (iy < 0 || iy >= size || ix < 0 || ix >= size) continue;
            for (int c = 0; c < channels; ++c) {
              if (depthwise && c != o) continue;
              const int tap = depthwise ? (i * taps + j) * channels + c
                                        : ((o * taps + i) * taps + j) * channels + c;
              sum += double{in[(iy * size + ix) * channels + c]} * filter[tap];
            }
          }
        }
        out.push_back(static_cast<float>(sum));
      }
    }
  }
  return out;
}

class KernelsTest : public ::testing::TestWithParam<const Kernels*> {};

TEST_P(KernelsTest, ConvolutionsMatchTheDefinition) {
  // Channel counts around the widths of registers and panels; odd sizes for the borders.
  for (const int channels : {1, 3, 8, 16, 17, 24, 33, 42, 88}) {
    for (const int outputs : {1, 2, 15, 16, 24, 32, 36, 48, 90}) {
      for (const auto& [size, taps, stride] :
           {std::tuple(7, 3, 1), std::tuple(8, 3, 2), std::tuple(5, 5, 2), std::tuple(9, 1, 1)}) {
        SCOPED_TRACE(::testing::Message() << channels << " to " << outputs << ", size " << size
                                          << ", taps " << taps << ", stride " << stride);
        const int out = (size + stride - 1) / stride;
        const auto input = Random(static_cast<size_t>(size * size * channels), 1);
        const auto filter = Random(static_cast<size_t>(outputs * taps * taps * channels), 2);
        const auto bias = Random(static_cast<size_t>(outputs), 3);
        TfliteWriter w;
        const int x = w.Input({1, size, size, channels});
        const int f = w.Constant({outputs, taps, taps, channels}, filter);
        const int b = w.Constant({outputs}, bias);
        w.Output(w.Op(3, {x, f, b}, {1, out, out, outputs}, ConvOptions(kSame, stride)));

        EXPECT_THAT(RunModel(w, input, *GetParam()),
                    Pointwise(FloatNear(2e-4f), PlainConv(input, size, channels, filter, taps,
                                                          outputs, stride, false, bias)));
      }
    }
  }
}

TEST_P(KernelsTest, DepthwiseConvolutionsMatchTheDefinition) {
  for (const int channels : {1, 3, 8, 16, 17, 24, 28, 42, 96}) {
    for (const auto& [size, taps, stride] :
         {std::tuple(7, 3, 1), std::tuple(8, 3, 2), std::tuple(2, 3, 1), std::tuple(1, 3, 2),
          std::tuple(3, 3, 2), std::tuple(6, 5, 1), std::tuple(5, 2, 2)}) {
      SCOPED_TRACE(::testing::Message() << channels << " channels, size " << size << ", taps "
                                        << taps << ", stride " << stride);
      const int out = (size + stride - 1) / stride;
      const auto input = Random(static_cast<size_t>(size * size * channels), 1);
      const auto filter = Random(static_cast<size_t>(taps * taps * channels), 2);
      const auto bias = Random(static_cast<size_t>(channels), 3);
      TfliteWriter w;
      const int x = w.Input({1, size, size, channels});
      const int f = w.Constant({1, taps, taps, channels}, filter);
      const int b = w.Constant({channels}, bias);
      w.Output(w.Op(4, {x, f, b}, {1, out, out, channels}, DepthwiseOptions(kSame, stride)));

      EXPECT_THAT(RunModel(w, input, *GetParam()),
                  Pointwise(FloatNear(1e-4f), PlainConv(input, size, channels, filter, taps,
                                                        channels, stride, true, bias)));
    }
  }
}

// The blocks the face models are made of. Asking for every intermediate result keeps the parts
// apart, so the joined and the separate computation can be compared.
TEST_P(KernelsTest, JoinedBlocksEqualTheirParts) {
  for (const int channels : {16, 24, 32, 64}) {
    for (const int outputs : {channels, 2 * channels, channels + 4}) {
      for (const bool shrink : {false, true}) {
        SCOPED_TRACE(::testing::Message()
                     << channels << " to " << outputs << (shrink ? ", shrinking" : ""));
        const int size = 12;
        const int out = shrink ? size / 2 : size;
        const auto build = [&](bool apart) {
          TfliteWriter w;
          const int x = w.Input({1, size, size, channels});
          const auto numbers = [&](std::vector<int> shape, uint32_t seed) {
            size_t count = 1;
            for (const int d : shape) count *= static_cast<size_t>(d);
            return w.Constant(shape, Random(count, seed));
          };
          std::vector<int> parts;
          const int depthwise =
              w.Op(4, {x, numbers({1, 3, 3, channels}, 1), numbers({channels}, 2)},
                   {1, out, out, channels}, DepthwiseOptions(kSame, shrink ? 2 : 1));
          const int bent =
              w.Op(54, {depthwise, numbers({1, 1, channels}, 3)}, {1, out, out, channels});
          const int mixed =
              w.Op(3, {bent, numbers({outputs, 1, 1, channels}, 4), numbers({outputs}, 5)},
                   {1, out, out, outputs}, ConvOptions(kValid, 1));
          int shortcut = x;
          if (shrink) {
            shortcut = w.Op(17, {x}, {1, out, out, channels}, PoolOptions(kValid, 2, 2));
            parts.push_back(shortcut);
          }
          if (outputs != channels) {
            const int pads =
                w.Constant({4, 2}, std::vector<int32_t>{0, 0, 0, 0, 0, 0, 0, outputs - channels});
            shortcut = w.Op(34, {shortcut, pads}, {1, out, out, outputs});
            parts.push_back(shortcut);
          }
          const int sum = w.Op(0, {shortcut, mixed}, {1, out, out, outputs});
          w.Output(w.Op(54, {sum, numbers({1, 1, outputs}, 6)}, {1, out, out, outputs}));
          if (apart) {
            for (const int part : {depthwise, bent, mixed, sum}) w.Output(part);
            for (const int part : parts) w.Output(part);
          }
          return w;
        };
        const auto input = Random(static_cast<size_t>(size * size * channels), 7);

        const std::vector<float> joined = RunModel(build(false), input, *GetParam());
        const std::vector<float> apart = RunModel(build(true), input, *GetParam());

        EXPECT_THAT(joined, Pointwise(FloatNear(1e-4f), apart));
      }
    }
  }
}

TEST_P(KernelsTest, RunningTwiceGivesTheSame) {
  TfliteWriter w;
  const int x = w.Input({1, 9, 9, 16});
  const int f = w.Constant({16, 3, 3, 16}, Random(16 * 9 * 16, 1));
  const int conv = w.Op(3, {x, f}, {1, 9, 9, 16}, ConvOptions(kSame, 1));
  w.Output(w.Op(0, {conv, x}, {1, 9, 9, 16}));
  const auto input = Random(9 * 9 * 16, 2);
  auto network = Network::Create(w.Write(), *GetParam());
  ASSERT_TRUE(network.ok()) << network.status();

  std::vector<std::vector<float>> results;
  for (int i = 0; i < 2; ++i) {
    std::copy(input.begin(), input.end(), (*network)->input(0).begin());
    (*network)->Run();
    results.emplace_back((*network)->output(0).begin(), (*network)->output(0).end());
  }

  EXPECT_EQ(results[0], results[1]);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelsTest, ::testing::ValuesIn(AvailableKernels()),
                         [](const auto& kernels) { return std::string(kernels.param->name); });

TEST(PoolTest, MaxIgnoresPadding) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 3, 1});
  w.Output(w.Op(17, {x}, {1, 1, 2, 1}, PoolOptions(kSame, 2, 2)));

  EXPECT_THAT(RunModel(w, {-1, -2, -3}), ElementsAre(-1, -3));
}

TEST(PoolTest, AverageDividesByPixelsInsideThePicture) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 3, 1});
  w.Output(w.Op(1, {x}, {1, 1, 2, 1}, PoolOptions(kSame, 2, 2)));

  EXPECT_THAT(RunModel(w, {2, 4, 6}), ElementsAre(3, 6));
}

TEST(BinaryTest, ShapesBroadcast) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  struct Case {
    int op;
    std::vector<int> shape;
    std::vector<float> b, expected;
  };
  const std::vector<Case> cases = {
      {0, {3}, {10, 20, 30}, {11, 22, 33, 14, 25, 36}},
      {41, {2, 1}, {1, 2}, {0, 1, 2, 2, 3, 4}},
      {18, {}, {2}, {2, 4, 6, 8, 10, 12}},
      {42, {1, 3}, {1, 2, 4}, {1, 1, 0.75f, 4, 2.5f, 1.5f}},
      {99, {2, 3}, {0, 0, 0, 1, 1, 1}, {1, 4, 9, 9, 16, 25}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.op);
    TfliteWriter w;
    const int x = w.Input({2, 3});
    w.Output(w.Op(c.op, {x, w.Constant(c.shape, c.b)}, {2, 3}));

    EXPECT_EQ(RunModel(w, a), c.expected);
  }
}

TEST(BinaryTest, FusedActivationOfAddition) {
  TfliteWriter w;
  const int x = w.Input({3});
  w.Output(w.Op(0, {x, w.Constant({}, std::vector<float>{1})}, {3}, {{0, 1, kRelu6Code, false}}));

  EXPECT_THAT(RunModel(w, {-3, 2, 7}), ElementsAre(0, 3, 6));
}

TEST(PreluTest, SlopePerChannel) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 2, 2});
  w.Output(w.Op(54, {x, w.Constant({1, 1, 2}, std::vector<float>{0.5f, 2})}, {1, 1, 2, 2}));

  EXPECT_THAT(RunModel(w, {1, 1, -1, -1}), ElementsAre(1, 1, -0.5f, -2));
}

TEST(UnaryTest, Functions) {
  struct Case {
    int op;
    std::vector<float> in, expected;
  };
  for (const Case& c :
       {Case{19, {-1, 2}, {0, 2}}, Case{21, {-1, 7}, {0, 6}}, Case{14, {0, 1}, {0.5f, 0.7310586f}},
        Case{59, {1, -2}, {-1, 2}}, Case{75, {4, 9}, {2, 3}}, Case{76, {4, 16}, {0.5f, 0.25f}}}) {
    SCOPED_TRACE(c.op);
    TfliteWriter w;
    const int x = w.Input({2});
    w.Output(w.Op(c.op, {x}, {2}));

    EXPECT_THAT(RunModel(w, c.in), Pointwise(FloatNear(1e-6f), c.expected));
  }
}

TEST(ReduceTest, SumAndMeanOverGivenDimensions) {
  const std::vector<float> in = {1, 2, 3, 4, 5, 6};
  const Fields keep = {{0, 1, 1, false}};
  {
    TfliteWriter w;
    const int x = w.Input({2, 3});
    w.Output(w.Op(74, {x, w.Constant({1}, std::vector<int32_t>{0})}, {3}));
    EXPECT_THAT(RunModel(w, in), ElementsAre(5, 7, 9));
  }
  {
    TfliteWriter w;
    const int x = w.Input({2, 3});
    w.Output(w.Op(40, {x, w.Constant({1}, std::vector<int32_t>{-1})}, {2, 1}, keep));
    EXPECT_THAT(RunModel(w, in), ElementsAre(2, 5));
  }
}

TEST(ShapeOpsTest, ConcatenateAlongMiddleDimension) {
  TfliteWriter w;
  const int x = w.Input({2, 1, 2});
  const int y = w.Constant({2, 2, 2}, std::vector<float>{10, 11, 12, 13, 14, 15, 16, 17});
  w.Output(w.Op(2, {x, y}, {2, 3, 2}, {{0, 4, -2, false}}));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4}), ElementsAre(1, 2, 10, 11, 12, 13, 3, 4, 14, 15, 16, 17));
}

TEST(ShapeOpsTest, Transpose) {
  TfliteWriter w;
  const int x = w.Input({1, 2, 3});
  const int order = w.Constant({3}, std::vector<int32_t>{2, 0, 1});
  w.Output(w.Op(39, {x, order}, {3, 1, 2}));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4, 5, 6}), ElementsAre(1, 4, 2, 5, 3, 6));
}

TEST(ShapeOpsTest, StridedSliceWithMasks) {
  TfliteWriter w;
  const int x = w.Input({2, 4});
  const int begin = w.Constant({2}, std::vector<int32_t>{1, 7});
  const int end = w.Constant({2}, std::vector<int32_t>{2, 0});
  const int step = w.Constant({2}, std::vector<int32_t>{1, -2});
  // Row 1 alone, its dimension dropped; every second column from the last, to the very first.
  w.Output(w.Op(45, {x, begin, end, step}, {2}, {{1, 4, 0b10, false}, {4, 4, 0b01, false}}));

  EXPECT_THAT(RunModel(w, {0, 1, 2, 3, 4, 5, 6, 7}), ElementsAre(7, 5));
}

TEST(ShapeOpsTest, PadAllAround) {
  TfliteWriter w;
  const int x = w.Input({1, 2});
  const int pads = w.Constant({2, 2}, std::vector<int32_t>{1, 0, 0, 1});
  w.Output(w.Op(34, {x, pads}, {2, 3}));

  EXPECT_THAT(RunModel(w, {1, 2}), ElementsAre(0, 0, 0, 1, 2, 0));
}

TEST(ShapeOpsTest, Reshape) {
  TfliteWriter w;
  const int x = w.Input({2, 3});
  w.Output(w.Op(22, {x}, {3, 2}));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4, 5, 6}), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(ResizeTest, BilinearConventions) {
  struct Case {
    int align, half;
    std::vector<float> expected;
  };
  for (const Case& c : {Case{0, 0, {0, 5, 10, 10}}, Case{1, 0, {0, 10.0f / 3, 20.0f / 3, 10}},
                        Case{0, 1, {0, 2.5f, 7.5f, 10}}}) {
    TfliteWriter w;
    const int x = w.Input({1, 1, 2, 1});
    const int size = w.Constant({2}, std::vector<int32_t>{1, 4});
    w.Output(w.Op(23, {x, size}, {1, 1, 4, 1}, {{2, 1, c.align, false}, {3, 1, c.half, false}}));

    EXPECT_THAT(RunModel(w, {0, 10}), Pointwise(FloatNear(1e-5f), c.expected));
  }
}

TEST(FullyConnectedTest, RowsTimesWeights) {
  TfliteWriter w;
  const int x = w.Input({2, 2});
  const int weights = w.Constant({3, 2}, std::vector<float>{1, 0, 0, 1, 1, 1});
  const int bias = w.Constant({3}, std::vector<float>{0, 0, -5});
  w.Output(w.Op(9, {x, weights, bias}, {2, 3}, {{0, 1, kReluCode, false}}));

  EXPECT_THAT(RunModel(w, {1, 2, 3, 4}), ElementsAre(1, 2, 0, 3, 4, 2));
}

TEST(DequantizeTest, HalfPrecisionWeights) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 1, 4});
  // 1, -2, the smallest positive number (2^-24), 0.333251953125.
  const int half = w.HalfConstant({1, 1, 1, 4}, {0x3c00, 0xc000, 0x0001, 0x3555});
  const int filter = w.Op(6, {half}, {1, 1, 1, 4});
  w.Output(w.Op(3, {x, filter}, {1, 1, 1, 1}, ConvOptions(kValid, 1)));

  EXPECT_THAT(RunModel(w, {1, 0, 0, 0}), ElementsAre(1));
  EXPECT_THAT(RunModel(w, {0, 1, 0, 0}), ElementsAre(-2));
  EXPECT_THAT(RunModel(w, {0, 0, 16777216, 0}), ElementsAre(1));
  EXPECT_THAT(RunModel(w, {0, 0, 0, 1}), ElementsAre(0.333251953125f));
}

TEST(AttentionOpsTest, TransformCarriesPoints) {
  TfliteWriter w;
  const int x = w.Input({1, 2, 2});
  const int m = w.Constant({1, 4, 4}, std::vector<float>{2, 0, 9, 1, 0, 3, 9, -1,  //
                                                         0, 0, 1, 0, 0, 0, 0, 1});
  w.Output(w.CustomOp("TransformLandmarks", {x, m}, {1, 2, 2}));

  EXPECT_THAT(RunModel(w, {0, 0, 1, 1}), ElementsAre(1, -1, 3, 2));
}

TEST(AttentionOpsTest, CutSamplesPixelCentresAndIsZeroOutside) {
  TfliteWriter w;
  const int x = w.Input({1, 2, 2, 1});
  // Half a pixel to the right.
  const int m = w.Constant({1, 4, 4}, std::vector<float>{1, 0, 0, 0.5f, 0, 1, 0, 0,  //
                                                         0, 0, 1, 0, 0, 0, 0, 1});
  const std::string options = FlexMapBytes({{"output_height", 2}, {"output_width", 2}}, {});
  w.Output(w.CustomOp("TransformTensorBilinear", {x, m}, {1, 2, 2, 1}, options));

  EXPECT_THAT(RunModel(w, {10, 20, 30, 40}), ElementsAre(15, 0, 35, 0));
}

TEST(AttentionOpsTest, BoxOfUprightPoints) {
  TfliteWriter w;
  const int x = w.Input({1, 4, 3});
  const std::string options = FlexMapBytes({{"left_rotation_idx", 0},
                                            {"right_rotation_idx", 1},
                                            {"target_rotation_radians", 0},
                                            {"output_width", 4},
                                            {"output_height", 2},
                                            {"scale_x", 1.5},
                                            {"scale_y", 1}},
                                           {{"subset_idxs", {0, 1, 2, 3}}});
  w.Output(w.CustomOp("Landmarks2TransformMatrix", {x}, {1, 4, 4}, options));

  // A box of 8 x 4 around (6, 12): 1.5 * 8 / 4 = 3 and 4 / 2 = 2 per pixel of the cut-out.
  const std::vector<float> m = RunModel(w, {2, 12, 0, 10, 12, 0, 6, 10, 0, 6, 14, 0});

  ASSERT_EQ(m.size(), 16u);
  EXPECT_THAT(std::vector<float>(m.begin(), m.begin() + 8),
              Pointwise(FloatNear(1e-5f), {3, 0, 0, 6 - 3 * 2, 0, 2, 0, 12 - 2 * 1}));
}

TEST(AttentionOpsTest, BoxOfTurnedPointsMapsItsCornersBack) {
  // A bar of 4 x 2 around (5, 5), turned by 30 degrees; the transform must send the corners of the
  // cut-out to the corners of the turned bar.
  const double angle = 0.5235987755982988;
  LandmarkBox box;
  box.right_rotation_index = 1;
  box.output_width = 8;
  box.output_height = 8;
  box.indices = {0, 1, 2, 3, 4, 5};
  std::vector<float> points;
  const auto turned = [angle](double x, double y) {
    return std::pair(5 + std::cos(angle) * x - std::sin(angle) * y,
                     5 + std::sin(angle) * x + std::cos(angle) * y);
  };
  for (const auto& [x, y] : {std::pair(-2, 0), std::pair(2, 0), std::pair(-2, -1), std::pair(2, -1),
                             std::pair(-2, 1), std::pair(2, 1)}) {
    const auto [px, py] = turned(x, y);
    points.insert(points.end(), {static_cast<float>(px), static_cast<float>(py), 0});
  }

  std::vector<float> m(16);
  LandmarksToTransform(box, points.data(), m.data());
  const std::vector<float> corners = {0, 0, 8, 0, 0, 8, 8, 8};
  std::vector<float> mapped(8);
  TransformLandmarks(corners.data(), 4, 2, m.data(), mapped.data());

  const std::vector<std::pair<double, double>> expected = {turned(-2, -1), turned(2, -1),
                                                           turned(-2, 1), turned(2, 1)};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(mapped[2 * i], expected[i].first, 1e-5);
    EXPECT_NEAR(mapped[2 * i + 1], expected[i].second, 1e-5);
  }
}

TEST(NetworkTest, EveryUnknownOperatorIsNamed) {
  TfliteWriter w;
  const int x = w.Input({2});
  const int a = w.Op(97, {x}, {2});
  const int b = w.CustomOp("FooBar", {a}, {2});
  const int c = w.Op(97, {b}, {2});
  w.Output(w.Op(123, {w.Op(19, {c}, {2})}, {2}));

  EXPECT_THAT(Problem(w), AllOf(HasSubstr("builtin operator 97"), HasSubstr("builtin operator 123"),
                                HasSubstr("custom operator \"FooBar\"")));
}

TEST(NetworkTest, ErrorsNameTheOperatorAndTheProblem) {
  {
    TfliteWriter w;
    const int x = w.Input({1, 4, 4, 3});
    w.Output(
        w.Op(3, {x, w.Constant({2, 1, 1, 4}, Random(8, 1))}, {1, 4, 4, 2}, ConvOptions(kSame, 1)));
    EXPECT_THAT(Problem(w), HasSubstr("operator 0 (CONV_2D): the filter takes 4 channels"));
  }
  {
    TfliteWriter w;
    const int x = w.Input({1, 4, 4, 3});
    w.Output(
        w.Op(3, {x, w.Constant({2, 1, 1, 3}, Random(6, 1))}, {1, 5, 4, 2}, ConvOptions(kSame, 1)));
    EXPECT_THAT(Problem(w), HasSubstr("should be [1,4,4,2], the file says [1,5,4,2]"));
  }
  {
    TfliteWriter w;
    const int x = w.Input({1, 2, 2, 1});
    w.Output(
        w.Op(3, {x, w.Constant({1, 3, 3, 1}, Random(9, 1))}, {1, 1, 1, 1}, ConvOptions(kValid, 1)));
    EXPECT_THAT(Problem(w), HasSubstr("the filter is larger than the picture"));
  }
  {
    TfliteWriter w;
    const int x = w.Input({1, 2, 2, 1});
    w.Output(
        w.Op(3, {x, w.Constant({1, 1, 1, 1}, Random(1, 1))}, {1, 2, 2, 1}, ConvOptions(kValid, 0)));
    EXPECT_THAT(Problem(w), HasSubstr("a filter, stride or dilation of 0"));
  }
  {
    TfliteWriter w;
    const int x = w.Input({2, 3});
    w.Output(w.Op(0, {x, w.Constant({2}, Random(2, 1))}, {2, 3}));
    EXPECT_THAT(Problem(w), HasSubstr("shapes [2,3] and [2] do not go together"));
  }
}

TEST(NetworkTest, HostileSizesAreRefusedBeforeTheyCost) {
  {
    // 2^13 x 2^13 pixels through a filter of 4096 x 4096.
    TfliteWriter w;
    const int x = w.Input({1, 8192, 8192, 1});
    w.Output(w.Op(17, {x}, {1, 8192, 8192, 1}, PoolOptions(kSame, 1, 4096)));
    EXPECT_THAT(Problem(w), HasSubstr("too much work"));
  }
  {
    TfliteWriter w;
    w.Output(w.Op(19, {w.Input({65536, 65536})}, {65536, 65536}));
    EXPECT_THAT(Problem(w), HasSubstr("too large"));
  }
  {
    TfliteWriter w;
    const int x = w.Input({8192, 8191});
    w.Output(w.Op(19, {x}, {8192, 8191}));
    EXPECT_THAT(Problem(w), HasSubstr("results are too large"));
  }
}

TEST(NetworkTest, NotATfliteFile) {
  for (const std::string& bytes : {std::string(), std::string("TFL3"), std::string(100, 'x')}) {
    const auto network = Network::Create(bytes);
    EXPECT_EQ(network.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(network.status().message()), HasSubstr("not a .tflite file"));
  }
}

TEST(NetworkTest, DilationDefaultsToOneWhereTheFileLeavesItOut) {
  TfliteWriter w;
  const int x = w.Input({1, 1, 3, 1});
  const int filter = w.Constant({1, 1, 3, 1}, std::vector<float>{1, 10, 100});
  w.Output(w.Op(3, {x, filter}, {1, 1, 1, 1},
                {{0, 1, kValid, false}, {1, 4, 1, false}, {2, 4, 1, false}}));

  EXPECT_THAT(RunModel(w, {1, 2, 3}), ElementsAre(321));
}

}  // namespace
}  // namespace reenact
