// Where exceptions of libtorch and OpenCV end: they become a Status that says what was being done.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {

// Runs `work`, which returns a Status or StatusOr. kResourceExhausted: out of memory; kInternal:
// any other exception, its first line only (the rest is a stack trace).
template <typename Work>
auto CatchErrors(const char* doing, Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat("out of memory while ", doing));
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return absl::InternalError(
        absl::StrCat("while ", doing, ": ", what.substr(0, what.find('\n'))));
  }
}

}  // namespace reenact
