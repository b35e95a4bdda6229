// libtorch ships gloo's code inside its library but not gloo's headers, which its own header of the
// process group includes. That header needs of gloo the names alone: it holds pointers. So these
// files declare them, and nothing here is ever constructed by us.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
