// Results on disk as they come, so that a run that was stopped or killed goes on where it was.
//
// A text file: what the results depend on, then a line for each clip, in order.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace reenact {

// Thread-compatible. One process at a time: the file is locked while it is open.
class Journal {
 public:
  // What results depend on, each as the text that the user knows it by.
  using Settings = std::vector<std::pair<std::string, std::string>>;

  // Keeps nothing.
  Journal() = default;
  // Begins `path` or goes on with it. A last line that was not finished is cut off.
  // kInvalidArgument: the file is of other settings (the first that differs is named with both
  // values), or no journal; kFailedPrecondition: another process has it open; kUnavailable: it
  // cannot be read or written.
  static absl::StatusOr<Journal> Open(const std::string& path, const Settings& settings);

  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&& other) noexcept;
  ~Journal();

  // The lines that were there when it was opened.
  const std::vector<std::string>& lines() const { return lines_; }
  const std::string& path() const { return path_; }

  // One line each, without an end of line. They are on disk, all of them, when it returns OK; else
  // (kUnavailable with the system's reason) none is.
  absl::Status Append(const std::vector<std::string>& lines);

 private:
  std::string path_;
  int file_ = -1;
  std::vector<std::string> lines_;
};

// The records in the first `count` lines of `journal`, or in as many as there are; none of a null
// one. `parse(line, index)` gives a StatusOr<Record>. kInvalidArgument: a line that it refuses.
template <typename Record, typename Parse>
absl::StatusOr<std::vector<Record>> KnownRecords(const Journal* journal, int count,
                                                 const Parse& parse) {
  std::vector<Record> records;
  if (journal == nullptr) return records;
  for (const std::string& line : journal->lines()) {
    const int index = static_cast<int>(records.size());
    if (index == count) break;
    absl::StatusOr<Record> record = parse(line, index);
    if (!record.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(journal->path(), ", clip ", index, ": ", record.status().message()));
    }
    records.push_back(*std::move(record));
  }
  return records;
}

}  // namespace reenact
