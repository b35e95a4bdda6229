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
  // kReadOnly: writing to the memory ends the process. kCopyOnWrite: a page that is written to
  // becomes the process's own; the file never changes.
  enum class Access { kReadOnly, kCopyOnWrite };

  // kNotFound: no such file. kInvalidArgument: not a regular file. Other errors of the system as
  // absl::ErrnoToStatus gives them. All name the path.
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(
      const std::string& path, Access access = Access::kCopyOnWrite);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {data_, size_}; }
  // The same memory, to be written to as Access says.
  char* data() const { return data_; }

  // Tells the system that the bytes are not used for now: their pages leave the process's memory,
  // stay in the file cache as long as it likes, and come back when they are touched. May be called
  // while others read. Of a file that is kCopyOnWrite it does nothing.
  void Release() const;

 private:
  MappedFile(char* data, size_t size, Access access) : data_(data), size_(size), access_(access) {}

  char* const data_;
  const size_t size_;
  const Access access_;
};

}  // namespace reenact
