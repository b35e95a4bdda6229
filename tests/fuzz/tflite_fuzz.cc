// Model files of the face networks: parsed, planned and, if small, run.
#include "pipeline/face/network.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/pipeline/face/tflite_writer.h"

namespace reenact::fuzz {
namespace {

using testing::FlexMapBytes;
using testing::TfliteWriter;

constexpr int kConv = 3;
constexpr int kAdd = 0;
constexpr int kPad = 34;
constexpr int kMean = 40;
constexpr int kConcatenate = 2;
constexpr int kReshape = 22;
constexpr int kDequantize = 6;
constexpr int kFullyConnected = 9;

std::string Convolutions() {
  TfliteWriter w;
  const int x = w.Input({1, 6, 6, 3});
  const int filter = w.Constant({4, 3, 3, 3}, std::vector<float>(4 * 27, 0.1f));
  const int bias = w.Constant({4}, std::vector<float>(4, 0.5f));
  const int y = w.Op(kConv, {x, filter, bias}, {1, 3, 3, 4},
                     {{0, 1, 0, false}, {1, 4, 2, false}, {2, 4, 2, false}, {3, 1, 1, false}});
  const int sum = w.Op(kAdd, {y, y}, {1, 3, 3, 4});
  const int pads = w.Constant({4, 2}, std::vector<int32_t>{0, 0, 1, 1, 1, 1, 0, 4});
  const int padded = w.Op(kPad, {sum, pads}, {1, 5, 5, 8});
  w.Output(w.Op(kConcatenate, {padded, padded}, {1, 5, 5, 16}, {{0, 4, 3, false}}));
  return w.Write();
}

std::string Landmarks() {
  TfliteWriter w;
  const int x = w.Input({1, 4, 4, 8});
  const int axes = w.Constant({2}, std::vector<int32_t>{1, 2});
  const int mean = w.Op(kMean, {x, axes}, {1, 8});
  const int half = w.HalfConstant({3, 8}, std::vector<uint16_t>(24, 0x3800));
  const int weights = w.Op(kDequantize, {half}, {3, 8});
  const int three = w.Op(kFullyConnected, {mean, weights}, {1, 3});
  const int mesh = w.Op(kReshape, {three}, {1, 1, 3});
  const int box = w.CustomOp("Landmarks2TransformMatrix", {mesh}, {1, 4, 4},
                             FlexMapBytes({{"left_rotation_idx", 0},
                                           {"right_rotation_idx", 0},
                                           {"target_rotation_radians", 0},
                                           {"output_width", 2},
                                           {"output_height", 2},
                                           {"scale_x", 1},
                                           {"scale_y", 1}},
                                          {{"subset_idxs", {0}}}));
  w.Output(w.CustomOp("TransformTensorBilinear", {x, box}, {1, 2, 2, 8},
                      FlexMapBytes({{"output_height", 2}, {"output_width", 2}}, {})));
  return w.Write();
}

}  // namespace

std::vector<std::string> Seeds() { return {Convolutions(), Landmarks()}; }

void Run(std::string_view input) {
  // The first kernels are the plain ones, which the sanitizers see through.
  auto network = Network::Create(input, *AvailableKernels().front());
  if (!network.ok()) return RequireRefusal(network.status());
  size_t elements = 0;
  for (const auto& port : (*network)->inputs()) elements += port.elements;
  for (const auto& port : (*network)->outputs()) elements += port.elements;
  if (elements > 10'000) return;
  for (size_t i = 0; i < (*network)->inputs().size(); ++i) {
    for (float& value : (*network)->input(i)) value = 0.25f;
  }
  (*network)->Run();
}

}  // namespace reenact::fuzz
