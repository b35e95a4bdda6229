#include "training/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace reenact {

absl::Status WriteFileAtomically(const std::string& path, const std::string& bytes) {
  const std::string temporary = absl::StrCat(path, ".tmp", getpid());
  const auto failed = [&](const char* doing) {
    const int error = errno;
    unlink(temporary.c_str());
    return absl::UnavailableError(absl::StrCat(path, ": ", doing, ": ", std::strerror(error)));
  };
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failed("creating");
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const absl::Status status = failed("writing");
      close(fd);
      return status;
    }
    done += static_cast<size_t>(count);
  }
  if (fsync(fd) != 0) {
    const absl::Status status = failed("flushing");
    close(fd);
    return status;
  }
  if (close(fd) != 0) return failed("closing");
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return failed("renaming");
  return absl::OkStatus();
}

}  // namespace reenact
