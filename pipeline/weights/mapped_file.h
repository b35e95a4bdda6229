// A file as memory: pages are read when they are touched, and belong to the system's file cache.
//
// The file must not be changed or cut while it is mapped: changed bytes may show, and touching a
// page behind a new, nearer end ends the process (SIGBUS). Replacing it by renaming another over
// it, as everything here does, is safe. Immutable, thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace reenact {

class MappedFile {
 public:
  // kNotFound: no such file. kInvalidArgument: not a regular file. Other errors of the system as
  // absl::ErrnoToStatus gives them. All name the path.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, size_}; }
  // The same memory. Writing to it never reaches the file: the page becomes the process's own.
  char* data() const { return data_; }

 private:
  MappedFile(char* data, size_t size) : data_(data), size_(size) {}

  char* const data_;
  const size_t size_;
};

}  // namespace reenact
