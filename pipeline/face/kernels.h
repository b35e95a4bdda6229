// The inner loops of the networks, compiled once per instruction set and picked at run time.
//
// All data are float32. Pictures are [height, width, channels] without padding. Output buffers must
// not overlap inputs. Pure functions; any number of threads.
#pragma once

#include <cstddef>
#include <vector>

namespace reenact {

enum class Activation { kNone, kRelu, kRelu6, kPrelu };

// What happens to a sum before it is stored: bias (where sums begin), then residual, then
// activation.
struct Epilogue {
  const float* bias = nullptr;   // one per output column
  const float* alpha = nullptr;  // kPrelu: slope below zero, one per output column
  Activation activation = Activation::kNone;
  // Added before the activation; rows of `residual_columns` numbers, further columns get nothing.
  // Null: none. Below the number of columns only if both counts are multiples of 16.
  const float* residual = nullptr;
  int residual_columns = 0;
};

// A group of output columns whose weights lie together: [depth][width], zero where the group
// reaches past the last column. Groups may overlap: then the same numbers are stored twice.
struct Panel {
  int column = 0;
  int width = 0;      // 16 or 32
  size_t offset = 0;  // in Gemm::weights
};

// Lays out the panels of `columns` outputs summed over `depth` inputs.
std::vector<Panel> MakePanels(int columns, int depth);

// out[row][column] = activation(bias + sum over depth of rows[row][depth] * weights[depth][column]
// + residual).
struct Gemm {
  const Panel* panels = nullptr;
  int num_panels = 0;
  const float* weights = nullptr;
  int depth = 0;
  int columns = 0;
  Epilogue epilogue;
};

// Where a filter lies on a picture.
struct Window {
  int filter_height = 1, filter_width = 1;
  int stride_y = 1, stride_x = 1;
  int dilation_y = 1, dilation_x = 1;
  int pad_top = 0, pad_left = 0;
};

struct Depthwise {
  int height = 0, width = 0, channels = 0;  // of the input
  int out_width = 0;
  Window window;
  const float* weights = nullptr;  // [filter_height, filter_width, channels]
  const float* zeros = nullptr;    // at least filter_width * channels zeros
  Epilogue epilogue;               // without residual
};

struct MaxPool {
  int height = 0, width = 0, channels = 0;  // of the input
  int out_height = 0, out_width = 0;
  Window window;
};

struct Kernels {
  const char* name;
  // `num_rows` rows of `gemm.depth` numbers each, to rows of `gemm.columns`.
  void (*gemm)(const Gemm& gemm, const float* rows, int num_rows, float* out);
  // Rows [first_row, first_row + num_rows) of the output.
  void (*depthwise)(const Depthwise& op, const float* in, int first_row, int num_rows, float* out);
  void (*max_pool)(const MaxPool& op, const float* in, float* out);
};

// Instruction sets this processor has, slowest first; never empty.
std::vector<const Kernels*> AvailableKernels();
// The last of them.
const Kernels& BestKernels();

}  // namespace reenact
