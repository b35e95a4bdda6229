#include "client/tool/output.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace reenact::tool {
namespace {

namespace fs = std::filesystem;

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", name));
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// What files made by mkstemp and mkdtemp (private) get before they appear: what the umask allows.
mode_t AllowedMode(mode_t wanted) {
  const mode_t mask = umask(0);
  umask(mask);
  return wanted & ~mask;
}

// "FOLDER/.NAME.partial-XXXXXX", in the folder of `path`, so that a rename needs no copy.
std::string TemporaryPattern(const fs::path& path) {
  return (path.parent_path() / absl::StrCat(".", path.filename().string(), ".partial-XXXXXX"))
      .string();
}

// "DIR/" names DIR.
fs::path WithoutFinalSlash(const std::string& path) {
  const fs::path plain(path);
  return plain.has_filename() ? plain : plain.parent_path();
}

absl::Status CannotMake(const std::string& path, int error) {
  const fs::path folder = WithoutFinalSlash(path).parent_path();
  std::error_code ignored;
  if (error == ENOENT && !folder.empty() && !fs::exists(folder, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", path, ": there is no folder ",
                                                   folder.string(), "; make it first"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("cannot write ", path, ": ", std::generic_category().message(error)));
}

class FileOutput : public Output {
 public:
  FileOutput(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  ~FileOutput() override {
    if (fd_ >= 0) close(fd_);
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }

  absl::Status WriteVideo(std::string_view bytes) override { return WriteAll(fd_, bytes, path_); }

  absl::Status WriteFrame(const OutputFrame&) override {
    return absl::InternalError("the server sent a frame where a video was asked for");
  }

  absl::Status Commit() override {
    fchmod(fd_, AllowedMode(0666));
    if (close(std::exchange(fd_, -1)) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path_));
    }
    if (rename(temporary_.c_str(), path_.c_str()) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path_));
    }
    temporary_.clear();
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  std::string temporary_;  // empty once it has its name
  int fd_;
};

class FolderOutput : public Output {
 public:
  FolderOutput(std::string path, std::string temporary, std::string extension)
      : path_(std::move(path)),
        temporary_(std::move(temporary)),
        extension_(std::move(extension)),
        timestamps_("index,pts,time_base,seconds\n") {}
  ~FolderOutput() override {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  }

  absl::Status WriteVideo(std::string_view) override {
    return absl::InternalError("the server sent a video where frames were asked for");
  }

  absl::Status WriteFrame(const OutputFrame& frame) override {
    absl::StrAppendFormat(&timestamps_, "%d,%d,%d/%d,%.6f\n", frame.index, frame.pts,
                          frame.time_base_num, frame.time_base_den,
                          static_cast<double>(frame.pts) * frame.time_base_num /
                              static_cast<double>(frame.time_base_den));
    return WriteFile(absl::StrFormat("frame_%06d.%s", frame.index, extension_), frame.data);
  }

  absl::Status Commit() override {
    if (absl::Status written = WriteFile("timestamps.csv", timestamps_); !written.ok()) {
      return written;
    }
    chmod(temporary_.c_str(), AllowedMode(0777));
    // rename replaces an empty folder.
    if (rename(temporary_.c_str(), path_.c_str()) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path_));
    }
    temporary_.clear();
    return absl::OkStatus();
  }

 private:
  absl::Status WriteFile(const std::string& name, std::string_view bytes) {
    const std::string shown = absl::StrCat(path_, "/", name);
    const int fd = open(absl::StrCat(temporary_, "/", name).c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", shown));
    absl::Status written = WriteAll(fd, bytes, shown);
    if (close(fd) != 0 && written.ok()) {
      written = absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", shown));
    }
    return written;
  }

  const std::string path_;
  std::string temporary_;  // empty once it has its name
  const std::string extension_;
  std::string timestamps_;  // some 30 bytes a frame
};

class StandardOutput : public Output {
 public:
  absl::Status WriteVideo(std::string_view bytes) override {
    return WriteAll(STDOUT_FILENO, bytes, "standard output");
  }
  absl::Status WriteFrame(const OutputFrame&) override {
    return absl::InternalError("the server sent a frame where a video was asked for");
  }
  absl::Status Commit() override { return absl::OkStatus(); }
};

}  // namespace

absl::StatusOr<std::unique_ptr<Output>> CreateFileOutput(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot write ", path, ": it is a folder"));
  }
  std::string temporary = TemporaryPattern(path);
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return CannotMake(path, errno);
  return std::make_unique<FileOutput>(path, std::move(temporary), fd);
}

absl::StatusOr<std::unique_ptr<Output>> CreateFolderOutput(const std::string& path,
                                                           const std::string& extension) {
  const fs::path folder = WithoutFinalSlash(path);
  std::error_code ignored;
  if (fs::exists(folder, ignored)) {
    if (!fs::is_directory(folder, ignored)) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot write frames into ", path, ": it is not a folder"));
    }
    if (!fs::is_empty(folder, ignored)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "cannot write frames into ", path, ": it is not empty; name a new or an empty folder"));
    }
  }
  std::string temporary = TemporaryPattern(folder);
  if (mkdtemp(temporary.data()) == nullptr) return CannotMake(path, errno);
  return std::make_unique<FolderOutput>(folder.string(), std::move(temporary), extension);
}

std::unique_ptr<Output> CreateStandardOutput() { return std::make_unique<StandardOutput>(); }

}  // namespace reenact::tool
