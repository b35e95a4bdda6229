#include "pipeline/face/flexbuffer.h"

#include <cstdint>
#include <cstring>
#include <optional>

namespace reenact {
namespace {

// The types in use; the low two bits of a packed type are the log2 of the width in bytes.
enum FlexType {
  kInt = 1,
  kUint = 2,
  kFloat = 3,
  kIndirectInt = 6,
  kIndirectUint = 7,
  kIndirectFloat = 8,
  kMap = 9,
  kVectorInt = 11,
  kVectorUint = 12,
  kVectorFloat = 13,
  kBool = 26,
};

// Reads nothing outside `bytes`; every failure is a missing value.
class FlexReader {
 public:
  explicit FlexReader(std::string_view bytes) : bytes_(bytes) {}

  std::optional<uint64_t> Unsigned(size_t position, size_t width) const {
    if (position > bytes_.size() || width > bytes_.size() - position) return std::nullopt;
    uint64_t value = 0;
    std::memcpy(&value, bytes_.data() + position, width);
    return value;
  }

  std::optional<double> Number(int type, size_t position, size_t width) const {
    const std::optional<uint64_t> raw = Unsigned(position, width);
    if (!raw) return std::nullopt;
    if (type == kUint || type == kBool) return static_cast<double>(*raw);
    if (type == kInt) {
      const size_t shift = 64 - 8 * width;
      return static_cast<double>(static_cast<int64_t>(*raw << shift) >> shift);
    }
    if (width == 8) {
      double value;
      std::memcpy(&value, bytes_.data() + position, sizeof(value));
      return value;
    }
    if (width == 4) {
      float value;
      std::memcpy(&value, bytes_.data() + position, sizeof(value));
      return value;
    }
    return std::nullopt;
  }

  // Where the offset stored at `position` leads: backwards.
  std::optional<size_t> Target(size_t position, size_t width) const {
    const std::optional<uint64_t> offset = Unsigned(position, width);
    if (!offset || *offset > position) return std::nullopt;
    return position - static_cast<size_t>(*offset);
  }

  std::optional<std::string> Key(size_t position) const {
    if (position >= bytes_.size()) return std::nullopt;
    const size_t end = bytes_.find('\0', position);
    if (end == std::string_view::npos) return std::nullopt;
    return std::string(bytes_.substr(position, end - position));
  }

  size_t size() const { return bytes_.size(); }

 private:
  const std::string_view bytes_;
};

constexpr char kDamaged[] = "custom options are damaged";

// The value of one map entry; no value: damaged. An empty vector: a type not in use.
std::optional<std::vector<double>> Value(const FlexReader& reader, uint8_t packed, size_t position,
                                         size_t parent_width) {
  const int type = packed >> 2;
  const size_t width = size_t{1} << (packed & 3);
  if (type == kInt || type == kUint || type == kFloat || type == kBool) {
    const std::optional<double> number = reader.Number(type, position, parent_width);
    if (!number) return std::nullopt;
    return std::vector<double>{*number};
  }
  if (type >= kIndirectInt && type <= kIndirectFloat) {
    const std::optional<size_t> target = reader.Target(position, parent_width);
    if (!target) return std::nullopt;
    const std::optional<double> number = reader.Number(type - kIndirectInt + kInt, *target, width);
    if (!number) return std::nullopt;
    return std::vector<double>{*number};
  }
  std::vector<double> numbers;
  if (type >= kVectorInt && type <= kVectorFloat) {
    const std::optional<size_t> target = reader.Target(position, parent_width);
    if (!target || *target < width) return std::nullopt;
    const std::optional<uint64_t> count = reader.Unsigned(*target - width, width);
    if (!count || *count > reader.size() / width) return std::nullopt;
    for (size_t i = 0; i < *count; ++i) {
      const std::optional<double> number =
          reader.Number(type - kVectorInt + kInt, *target + i * width, width);
      if (!number) return std::nullopt;
      numbers.push_back(*number);
    }
  }
  return numbers;
}

std::optional<FlexMap> Parse(const FlexReader& reader) {
  if (reader.size() < 3) return std::nullopt;
  const size_t end = reader.size();
  const size_t root_width = *reader.Unsigned(end - 1, 1);
  const auto root_type = static_cast<uint8_t>(*reader.Unsigned(end - 2, 1));
  if (root_width != 1 && root_width != 2 && root_width != 4 && root_width != 8) return std::nullopt;
  if (root_type >> 2 != kMap || end < 2 + root_width) return std::nullopt;
  const std::optional<size_t> map = reader.Target(end - 2 - root_width, root_width);
  // Before the values: offset of the keys, width of the keys, count.
  const size_t width = size_t{1} << (root_type & 3);
  if (!map || *map < 3 * width) return std::nullopt;
  const std::optional<uint64_t> count = reader.Unsigned(*map - width, width);
  const std::optional<uint64_t> key_width = reader.Unsigned(*map - 2 * width, width);
  const std::optional<size_t> keys = reader.Target(*map - 3 * width, width);
  if (!count || *count > reader.size() || !keys || !key_width ||
      (*key_width != 1 && *key_width != 2 && *key_width != 4 && *key_width != 8)) {
    return std::nullopt;
  }
  FlexMap entries;
  for (size_t i = 0; i < *count; ++i) {
    const std::optional<size_t> key_at = reader.Target(*keys + i * *key_width, *key_width);
    if (!key_at) return std::nullopt;
    const std::optional<std::string> key = reader.Key(*key_at);
    const std::optional<uint64_t> type = reader.Unsigned(*map + *count * width + i, 1);
    if (!key || !type) return std::nullopt;
    std::optional<std::vector<double>> value =
        Value(reader, static_cast<uint8_t>(*type), *map + i * width, width);
    if (!value) return std::nullopt;
    if (!value->empty()) entries[*key] = *std::move(value);
  }
  return entries;
}

}  // namespace

absl::StatusOr<FlexMap> ParseFlexMap(std::string_view bytes) {
  std::optional<FlexMap> entries = Parse(FlexReader(bytes));
  if (!entries) return absl::InvalidArgumentError(kDamaged);
  return *std::move(entries);
}

}  // namespace reenact
