// PyTorch's model files: both forms, and the pickle reader alone.
#include <zlib.h>

#include <cstdint>
#include <utility>

#include "pipeline/weights/pickle.h"
#include "pipeline/weights/pt_file.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {
namespace {

using std::string_literals::operator""s;

void Append(std::string& bytes, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(i < 8 ? value >> 8 * i : 0);
}

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
  std::string bytes, directory;
  const std::vector<std::pair<std::string, std::string>> files = {
      {"m/data.pkl", Pickle(false)}, {"m/byteorder", "little"}, {"m/data/0", kData}};
  for (const auto& [name, text] : files) {
    std::string header;
    Append(header, 20, 2);
    Append(header, 0, 8);  // flags, stored, time
    Append(header,
           crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())),
           4);
    Append(header, text.size(), 4);
    Append(header, text.size(), 4);
    Append(header, name.size(), 2);
    Append(header, 0, 2);
    directory += "PK\x01\x02";
    Append(directory, 20, 2);
    directory += header;
    Append(directory, 0, 10);
    Append(directory, bytes.size(), 4);
    directory += name;
    bytes += "PK\x03\x04" + header + name + text;
  }
  const size_t start = bytes.size();
  bytes += directory + "PK\x05\x06";
  Append(bytes, 0, 4);
  Append(bytes, files.size(), 2);
  Append(bytes, files.size(), 2);
  Append(bytes, directory.size(), 4);
  Append(bytes, start, 4);
  Append(bytes, 0, 2);
  return bytes;
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
