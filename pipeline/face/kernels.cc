#include "pipeline/face/kernels.h"

#include <algorithm>

namespace reenact {

namespace kernels_generic {
extern const Kernels kKernels;
}
#if defined(__x86_64__)
namespace kernels_avx2 {
extern const Kernels kKernels;
}
namespace kernels_avx512 {
extern const Kernels kKernels;
}
#endif

std::vector<Panel> MakePanels(int columns, int depth) {
  std::vector<Panel> panels;
  size_t offset = 0;
  int column = 0;
  while (column < columns) {
    const int left = columns - column;
    const int width = left > 16 && columns >= 32 ? 32 : 16;
    // The last panel overlaps the one before rather than reaching past the end, where it can.
    const int begin = std::max(0, std::min(column, columns - width));
    panels.push_back({begin, width, offset});
    offset += static_cast<size_t>(width) * depth;
    column += width;
  }
  return panels;
}

std::vector<const Kernels*> AvailableKernels() {
  std::vector<const Kernels*> kernels = {&kernels_generic::kKernels};
#if defined(__x86_64__)
  const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (fma) kernels.push_back(&kernels_avx2::kKernels);
  if (fma && __builtin_cpu_supports("avx512f")) kernels.push_back(&kernels_avx512::kKernels);
#endif
  return kernels;
}

const Kernels& BestKernels() {
  static const Kernels* const best = AvailableKernels().back();
  return *best;
}

}  // namespace reenact
