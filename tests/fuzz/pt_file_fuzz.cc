// PyTorch's model files: both forms, and the pickle reader alone.
#include "pipeline/weights/pickle.h"
#include "pipeline/weights/pt_file.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/zip_builder.h"

namespace reenact::fuzz {
namespace {

using std::string_literals::operator""s;
using testing::Append;

std::string Text(const std::string& text) {
  std::string bytes = "X";
  Append(bytes, text.size(), 4);
  return bytes + text;
}

// {"w": a 2 x 3 tensor, "args": an object, "step": a number}, memoised as Python does it.
std::string Pickle(bool legacy) {
  std::string storage = "((" + Text("storage") + "q\x02" + "ctorch\nFloatStorage\nq\x03" +
                        Text("0") + Text("cpu") + "K\x06";
  if (legacy) storage += "N";
  storage += "tQ";
  return "\x80\x02"s + "}q\x00("s + Text("w") + "ctorch._utils\n_rebuild_tensor_v2\nq\x01" +
         storage + "K\x00K\x02K\x03\x86K\x03K\x01\x86\x89"s + "ccollections\nOrderedDict\n)RtR" +
         Text("args") + "cargparse\nNamespace\n)\x81}" + Text("lr") +
         "G\x3F\x50\x62\x4D\xD2\xF1\xA9\xFCsb" + Text("step") + "\x8A\x02\x10\x27u."s;
}

const std::string kData(24, '\x3F');

std::string ZipForm() {
  return testing::ZipArchive({{.name = "m/data.pkl", .text = Pickle(false)},
                              {.name = "m/byteorder", .text = "little"},
                              {.name = "m/data/0", .text = kData}});
}

std::string LegacyForm() {
  std::string bytes = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19."s +
                      "\x80\x02M\xE9\x03."s + "\x80\x02}" + Text("little_endian") + "\x88s." +
                      Pickle(true) + "\x80\x02]" + Text("0") + "a.";
  Append(bytes, 6, 8);
  return bytes + kData;
}

}  // namespace

std::vector<std::string> Seeds() {
  const std::vector<std::string> seeds = {ZipForm(), LegacyForm()};
  for (const std::string& seed : seeds) {
    const auto file = ParsePt(seed);
    Require(file.ok() && file->tensors.size() == 1 && file->others.size() == 2,
            "the seeds hold one tensor and two other things");
  }
  Require(ReadPickle(Pickle(false)).ok(), "the third seed is a pickle");
  return {seeds[0], seeds[1], Pickle(false)};
}

void Run(std::string_view input) {
  const auto graph = ReadPickle(input);
  if (!graph.ok()) {
    RequireRefusal(graph.status());
  } else {
    Require(graph->root < graph->values.size() && graph->end <= input.size(),
            "a graph has its root");
    for (const PickleValue& value : graph->values) {
      DescribePickleValue(value);
      for (const PickleValue::Id item : value.items) {
        Require(item < graph->values.size(), "items are values of the graph");
      }
    }
  }
  const auto file = ParsePt(input);
  if (!file.ok()) return RequireRefusal(file.status());
  Require(!file->tensors.empty(), "a file without tensors is refused");
  for (const auto& [name, tensor] : file->tensors) {
    Require(tensor.shape.size() == tensor.strides.size(), "every dimension has a stride");
    // The first and the last byte can be read.
    volatile char sink = 0;
    if (!tensor.bytes.empty()) sink = tensor.bytes.front();
    if (!tensor.bytes.empty()) sink = tensor.bytes.back();
    (void)sink;
  }
}

}  // namespace reenact::fuzz
