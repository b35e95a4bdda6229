#include "pipeline/face/flatbuffer.h"

#include <bit>

#include "absl/strings/str_cat.h"

namespace reenact {

static_assert(std::endian::native == std::endian::little, "FlatBuffers are little-endian");

void FlatBufferReader::Fail(const std::string& what) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(
      absl::StrCat("damaged or truncated file (", bytes_.size(), " bytes): ", what));
}

FlatBufferReader::Table FlatBufferReader::TableAt(size_t position) {
  if (!status_.ok()) return {};
  if (!Inside(position, 4)) {
    Fail("a table lies beyond its end");
    return {};
  }
  const int64_t vtable = static_cast<int64_t>(position) - Load<int32_t>(position);
  if (vtable < 0 || !Inside(static_cast<size_t>(vtable), 4)) {
    Fail("a table's layout lies beyond its end");
    return {};
  }
  Table table;
  table.position = position;
  table.vtable = static_cast<size_t>(vtable);
  table.vtable_size = Load<uint16_t>(table.vtable);
  table.table_size = Load<uint16_t>(table.vtable + 2);
  if (table.vtable_size < 4 || !Inside(table.vtable, table.vtable_size) || table.table_size < 4 ||
      !Inside(position, table.table_size)) {
    Fail("a table reaches beyond its end");
    return {};
  }
  return table;
}

FlatBufferReader::Table FlatBufferReader::Root() {
  if (!Inside(0, 8)) {
    Fail("too short for a header");
    return {};
  }
  return TableAt(Load<uint32_t>(0));
}

size_t FlatBufferReader::FieldOffset(const Table& table, int slot) {
  if (!status_.ok() || !table.present()) return 0;
  const size_t entry = 4 + 2 * static_cast<size_t>(slot);
  if (entry + 2 > table.vtable_size) return 0;
  const size_t offset = Load<uint16_t>(table.vtable + entry);
  if (offset >= table.table_size) {
    Fail("a field lies beyond its table");
    return 0;
  }
  return offset;
}

size_t FlatBufferReader::Target(const Table& table, int slot) {
  const size_t offset = FieldOffset(table, slot);
  if (offset == 0) return 0;
  if (offset + 4 > table.table_size) {
    Fail("a reference reaches beyond its table");
    return 0;
  }
  const size_t position = table.position + offset;
  const size_t target = position + Load<uint32_t>(position);
  if (!Inside(target, 4)) {
    Fail("a reference points beyond its end");
    return 0;
  }
  return target;
}

FlatBufferReader::Table FlatBufferReader::SubTable(const Table& table, int slot) {
  const size_t target = Target(table, slot);
  return target == 0 ? Table() : TableAt(target);
}

FlatBufferReader::Vector FlatBufferReader::SubVector(const Table& table, int slot,
                                                     size_t element_size) {
  const size_t target = Target(table, slot);
  if (target == 0) return {};
  const size_t size = Load<uint32_t>(target);
  if (size > (bytes_.size() - target - 4) / element_size) {
    Fail("a vector reaches beyond its end");
    return {};
  }
  return {target + 4, size};
}

FlatBufferReader::Table FlatBufferReader::TableIn(const Vector& tables, size_t index) {
  if (!status_.ok()) return {};
  const size_t position = tables.position + 4 * index;
  return TableAt(position + Load<uint32_t>(position));
}

std::string_view FlatBufferReader::Bytes(const Table& table, int slot) {
  const Vector bytes = SubVector(table, slot, 1);
  return bytes.size == 0 ? std::string_view() : bytes_.substr(bytes.position, bytes.size);
}

}  // namespace reenact
