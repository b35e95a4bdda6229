// Reads the golden files in tests that do without libtorch: float32, float64, int32 and uint8
// tensors as vectors. Files are trusted; a bad one ends the test with an exception.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace reenact::testing {

class SafetensorsLite {
 public:
  explicit SafetensorsLite(const std::string& path) : bytes_(ReadFile(path)) {
    if (bytes_.size() < 8) throw std::runtime_error(path + ": too short");
    uint64_t header_size;
    std::memcpy(&header_size, bytes_.data(), sizeof(header_size));
    if (header_size > bytes_.size() - 8) throw std::runtime_error(path + ": header is cut");
    header_ = nlohmann::json::parse(bytes_.substr(8, header_size));
    data_ = 8 + header_size;
    if (header_.contains("__metadata__")) {
      metadata_ = header_["__metadata__"].get<std::map<std::string, std::string>>();
      header_.erase("__metadata__");
    }
  }

  bool Has(const std::string& name) const { return header_.contains(name); }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : header_.items()) names.push_back(name);
    return names;
  }
  std::vector<size_t> Shape(const std::string& name) const {
    return header_.at(name).at("shape").get<std::vector<size_t>>();
  }
  std::vector<float> Floats(const std::string& name) const { return Numbers<float>(name, "F32"); }
  std::vector<double> Doubles(const std::string& name) const {
    return Numbers<double>(name, "F64");
  }
  std::vector<int32_t> Ints(const std::string& name) const { return Numbers<int32_t>(name, "I32"); }
  std::vector<uint8_t> Bytes(const std::string& name) const { return Numbers<uint8_t>(name, "U8"); }

  // "" if absent.
  std::string Metadata(const std::string& key) const {
    const auto entry = metadata_.find(key);
    return entry == metadata_.end() ? "" : entry->second;
  }
  // Metadata that is a JSON list of strings.
  std::vector<std::string> MetadataList(const std::string& key) const {
    return nlohmann::json::parse(metadata_.at(key)).get<std::vector<std::string>>();
  }

 private:
  template <typename T>
  std::vector<T> Numbers(const std::string& name, const std::string& type) const {
    const auto& entry = header_.at(name);
    if (entry.at("dtype") != type) throw std::runtime_error(name + " is not " + type);
    const auto range = entry.at("data_offsets").get<std::vector<uint64_t>>();
    std::vector<T> numbers((range.at(1) - range.at(0)) / sizeof(T));
    std::memcpy(numbers.data(), bytes_.substr(data_ + range[0], range[1] - range[0]).data(),
                numbers.size() * sizeof(T));
    return numbers;
  }

  std::string bytes_;
  nlohmann::json header_;
  std::map<std::string, std::string> metadata_;
  size_t data_ = 0;
};

}  // namespace reenact::testing
