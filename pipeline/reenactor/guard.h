// Where exceptions of libtorch and OpenCV end: they become a Status that says what was being done.
#pragma once

#include <exception>
#include <utility>

#include "pipeline/models/device.h"

namespace reenact {

// Runs `work`, which returns a Status or StatusOr. An exception becomes ErrorStatus (device.h):
// kResourceExhausted, out of memory; kInternal, any other.
template <typename Work>
auto CatchErrors(const char* doing, Work&& work) -> decltype(work()) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::exception& error) {
    return ErrorStatus(error, doing);
  }
}

}  // namespace reenact
