#include "eval/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace reenact {
namespace {

using Json = nlohmann::ordered_json;

// Of the first line. The number changes when a journal's numbers mean something else than before.
constexpr char kMagic[] = "reenact-eval journal";
constexpr int kVersion = 1;

absl::Status SystemError(const std::string& path, const char* what) {
  return absl::UnavailableError(
      absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(errno)));
}

std::string Head(const Journal::Settings& settings) {
  Json head = {{kMagic, kVersion}};
  for (const auto& [name, value] : settings) head[name] = value;
  return head.dump();
}

absl::Status CheckHead(const std::string& path, const std::string& line,
                       const Journal::Settings& settings) {
  const Json head = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!head.is_object() || !head.contains(kMagic)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a journal of reenact-eval"));
  }
  if (head.at(kMagic) != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " was begun by another version of reenact-eval"));
  }
  for (const auto& [name, value] : settings) {
    const std::string was = head.contains(name) && head.at(name).is_string()
                                ? head.at(name).get<std::string>()
                                : "not said";
    if (was == value) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, " was begun with other settings: ", name, " was ", was, ", is ", value,
                     ". Take another folder, or remove the file to begin anew"));
  }
  return absl::OkStatus();
}

// From the file's beginning.
absl::StatusOr<std::string> ReadAll(int file, const std::string& path) {
  std::string content;
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = read(file, buffer, sizeof(buffer));
    if (count == 0) return content;
    if (count < 0 && errno != EINTR) return SystemError(path, "read");
    if (count > 0) content.append(buffer, static_cast<size_t>(count));
  }
}

absl::Status WriteAll(int file, const std::string& path, const std::string& bytes) {
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t count = write(file, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno != EINTR) return SystemError(path, "write");
    if (count > 0) written += static_cast<size_t>(count);
  }
  if (fsync(file) != 0 && errno != EINVAL) return SystemError(path, "write");  // a device has none
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Journal> Journal::Open(const std::string& path, const Settings& settings) {
  Journal journal;
  journal.path_ = path;
  journal.file_ = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (journal.file_ < 0) return SystemError(path, "open");
  if (flock(journal.file_, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("another reenact-eval is writing ", path));
  }
  auto content = ReadAll(journal.file_, path);
  if (!content.ok()) return content.status();
  const size_t end = content->rfind('\n');
  const size_t complete = end == std::string::npos ? 0 : end + 1;
  if (complete == 0) {
    // Nothing, or the beginning of a first line. What else begins so is somebody's file.
    const std::string head = Head(settings) + "\n";
    if (head.compare(0, content->size(), *content) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is not a journal of reenact-eval"));
    }
    if (!content->empty() && ftruncate(journal.file_, 0) != 0) return SystemError(path, "write");
    const absl::Status status = WriteAll(journal.file_, path, head);
    return status.ok() ? absl::StatusOr<Journal>(std::move(journal)) : status;
  }
  std::vector<std::string> lines = absl::StrSplit(content->substr(0, complete - 1), '\n');
  if (auto status = CheckHead(path, lines.front(), settings); !status.ok()) return status;
  if (complete < content->size() && ftruncate(journal.file_, static_cast<off_t>(complete)) != 0) {
    return SystemError(path, "write");
  }
  lines.erase(lines.begin());
  journal.lines_ = std::move(lines);
  return journal;
}

Journal::Journal(Journal&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      lines_(std::move(other.lines_)) {}

Journal& Journal::operator=(Journal&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(lines_, other.lines_);
  return *this;
}

Journal::~Journal() {
  if (file_ >= 0) close(file_);
}

absl::Status Journal::Append(const std::vector<std::string>& lines) {
  if (file_ < 0) return absl::OkStatus();
  std::string bytes;
  for (const std::string& line : lines) absl::StrAppend(&bytes, line, "\n");
  struct stat before {};
  if (fstat(file_, &before) != 0) return SystemError(path_, "write");
  absl::Status status = WriteAll(file_, path_, bytes);
  // What half came is cut off here, or when it is opened next.
  if (!status.ok() && ftruncate(file_, before.st_size) != 0) {
    status = absl::UnavailableError(absl::StrCat(status.message(), "; its end is incomplete"));
  }
  return status;
}

}  // namespace reenact
