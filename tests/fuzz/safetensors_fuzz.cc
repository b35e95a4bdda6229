// Weight files.
#include "pipeline/weights/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {
namespace {

std::string File(const std::string& header, size_t data_size) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> 8 * i);
  return file + header + std::string(data_size, '\1');
}

}  // namespace

std::vector<std::string> Seeds() {
  const std::vector<std::string> seeds = {
      File("{}", 0),
      File(R"({"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})",
           24),
      File(R"({"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},)"
           R"("b":{"dtype":"I64","shape":[],"data_offsets":[8,16]},)"
           R"("c":{"dtype":"BOOL","shape":[0,5],"data_offsets":[16,16]}})",
           16)};
  for (const std::string& seed : seeds) {
    Require(ParseSafetensors(seed).ok(), "the seeds are safetensors");
  }
  return seeds;
}

void Run(std::string_view input) {
  const auto file = ParseSafetensors(input);
  if (!file.ok()) return RequireRefusal(file.status());
  size_t bytes = 0;
  for (const auto& [name, tensor] : file->tensors) {
    bytes += static_cast<size_t>(tensor.numel()) * tensor.element_size();
  }
  Require(bytes <= input.size(), "tensors are no larger than their file");
}

}  // namespace reenact::fuzz
