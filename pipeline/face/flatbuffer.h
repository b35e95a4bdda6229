// Bounds-checked reading of FlatBuffers, whatever the bytes are.
//
// Nothing is trusted: every offset is checked against the file before it is followed. The first
// violation is remembered; from then on every read gives "absent", zero or empty, so that a caller
// may read a whole structure and ask status() once. Loops stay bounded because a vector is never
// longer than the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace reenact {

// Thread-compatible. Refers to the bytes, which must outlive it.
class FlatBufferReader {
 public:
  // A table in the file. Plain data; only meaningful to the reader that returned it.
  struct Table {
    size_t position = 0;  // 0: absent
    size_t vtable = 0;
    size_t vtable_size = 0;
    size_t table_size = 0;
    bool present() const { return position != 0; }
  };
  // `size` elements beginning at `position`.
  struct Vector {
    size_t position = 0;
    size_t size = 0;
  };

  explicit FlatBufferReader(std::string_view bytes) : bytes_(bytes) {}

  Table Root();
  // The table that field `slot` refers to.
  Table SubTable(const Table& table, int slot);
  // The vector that field `slot` refers to; elements of `element_size` bytes.
  Vector SubVector(const Table& table, int slot, size_t element_size);
  // Element `index` of a vector of tables.
  Table TableIn(const Vector& tables, size_t index);
  // A string or vector of bytes, in place.
  std::string_view Bytes(const Table& table, int slot);

  // A number stored in the table itself, or `absent` where the file leaves it out.
  template <typename T>
  T Number(const Table& table, int slot, T absent) {
    const size_t offset = FieldOffset(table, slot);
    if (offset == 0) return absent;
    if (offset + sizeof(T) > table.table_size) {
      Fail("a field reaches beyond its table");
      return absent;
    }
    return Load<T>(table.position + offset);
  }

  // A number in a vector; `index` must be below its size.
  template <typename T>
  T NumberIn(const Vector& numbers, size_t index) const {
    return Load<T>(numbers.position + index * sizeof(T));
  }

  // OK, or kInvalidArgument naming the first violation.
  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  T Load(size_t position) const {
    T value;
    std::memcpy(&value, bytes_.data() + position, sizeof(T));
    return value;
  }
  // Whether `count` bytes from `position` lie in the file.
  bool Inside(size_t position, size_t count) const {
    return position <= bytes_.size() && count <= bytes_.size() - position;
  }
  void Fail(const std::string& what);
  size_t FieldOffset(const Table& table, int slot);
  // Where field `slot` points to; 0: absent.
  size_t Target(const Table& table, int slot);
  Table TableAt(size_t position);

  const std::string_view bytes_;
  absl::Status status_;
};

}  // namespace reenact
