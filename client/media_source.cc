#include "client/media_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

class FileSource : public MediaSource {
 public:
  FileSource(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~FileSource() override { close(fd_); }

  absl::Status Read(size_t max_bytes, std::string& chunk) override {
    chunk.resize(max_bytes);
    ssize_t size = 0;
    do {
      size = read(fd_, chunk.data(), chunk.size());
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
      const int error = errno;
      chunk.clear();
      return absl::ErrnoToStatus(error, absl::StrCat("cannot read ", path_));
    }
    chunk.resize(static_cast<size_t>(size));
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const int fd_;
};

class BytesSource : public MediaSource {
 public:
  explicit BytesSource(std::string bytes) : bytes_(std::move(bytes)) {}

  absl::Status Read(size_t max_bytes, std::string& chunk) override {
    chunk.assign(bytes_, position_, std::min(max_bytes, bytes_.size() - position_));
    position_ += chunk.size();
    return absl::OkStatus();
  }

 private:
  const std::string bytes_;
  size_t position_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MediaSource>> OpenMediaFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  auto source = std::make_unique<FileSource>(path, fd);
  struct stat about = {};
  if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": it is a folder"));
  }
  return source;
}

std::unique_ptr<MediaSource> MediaFromBytes(std::string bytes) {
  return std::make_unique<BytesSource>(std::move(bytes));
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t max_bytes) {
  auto source = OpenMediaFile(path);
  if (!source.ok()) return source.status();
  std::string content;
  std::string chunk;
  while (true) {
    if (absl::Status read = (*source)->Read(size_t{1} << 18, chunk); !read.ok()) return read;
    if (chunk.empty()) return content;
    if (content.size() + chunk.size() > max_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
    }
    content += chunk;
  }
}

}  // namespace reenact
