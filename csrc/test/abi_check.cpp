// Compiled, never run: the core's declarations of ggml's C interface against
// ggml's own headers. csrc/core/abi_test.go gives the include path.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ggml-alloc.h"
#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

namespace ours {
#include "core/ggml_abi_types.h"
}

// Functions: declared again with ggml's own types, which the compiler refuses
// where a signature differs.
#define SDGO_ABI_CHECK
#include "core/ggml_abi.h"

#define SAME_VALUE(e) static_assert(int(ours::e) == int(::e), #e)
SAME_VALUE(GGML_TYPE_F32);
SAME_VALUE(GGML_TYPE_F16);
SAME_VALUE(GGML_TYPE_Q2_K);
SAME_VALUE(GGML_TYPE_Q3_K);
SAME_VALUE(GGML_TYPE_Q4_K);
SAME_VALUE(GGML_TYPE_Q5_K);
SAME_VALUE(GGML_TYPE_Q6_K);
SAME_VALUE(GGML_TYPE_I32);
SAME_VALUE(GGML_TYPE_BF16);
SAME_VALUE(GGML_TYPE_COUNT);
SAME_VALUE(GGML_STATUS_ALLOC_FAILED);
SAME_VALUE(GGML_STATUS_FAILED);
SAME_VALUE(GGML_STATUS_SUCCESS);
SAME_VALUE(GGML_STATUS_ABORTED);
SAME_VALUE(GGML_PREC_DEFAULT);
SAME_VALUE(GGML_PREC_F32);
SAME_VALUE(GGML_LOG_LEVEL_NONE);
SAME_VALUE(GGML_LOG_LEVEL_CONT);
SAME_VALUE(GGML_SCALE_MODE_NEAREST);
SAME_VALUE(GGML_BACKEND_DEVICE_TYPE_CPU);
SAME_VALUE(GGML_BACKEND_DEVICE_TYPE_GPU);
SAME_VALUE(GGML_BACKEND_DEVICE_TYPE_IGPU);
SAME_VALUE(GGML_BACKEND_DEVICE_TYPE_ACCEL);
SAME_VALUE(GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
SAME_VALUE(GGML_BACKEND_BUFFER_USAGE_COMPUTE);

#define SAME_ENUM(t) static_assert(sizeof(enum ours::t) == sizeof(enum ::t), #t)
SAME_ENUM(ggml_type);
SAME_ENUM(ggml_status);
SAME_ENUM(ggml_prec);
SAME_ENUM(ggml_log_level);
SAME_ENUM(ggml_scale_mode);
SAME_ENUM(ggml_op_pool);
SAME_ENUM(ggml_backend_dev_type);
SAME_ENUM(ggml_backend_buffer_usage);
SAME_ENUM(ggml_op);

#define SAME_SIZE(t) static_assert(sizeof(struct ours::t) == sizeof(struct ::t), #t)
SAME_SIZE(ggml_init_params);
SAME_SIZE(ggml_tensor);
SAME_SIZE(ggml_type_traits);
SAME_SIZE(ggml_backend_buffer_type);
SAME_SIZE(ggml_backend_buffer);

#define SAME_FIELD(t, f)                                                                                     \
    static_assert(offsetof(ours::t, f) == offsetof(::t, f) && sizeof(ours::t::f) == sizeof(::t::f), #t "." #f)
SAME_FIELD(ggml_init_params, mem_size);
SAME_FIELD(ggml_init_params, mem_buffer);
SAME_FIELD(ggml_init_params, no_alloc);
SAME_FIELD(ggml_tensor, type);
SAME_FIELD(ggml_tensor, buffer);
SAME_FIELD(ggml_tensor, ne);
SAME_FIELD(ggml_tensor, nb);
SAME_FIELD(ggml_tensor, op);
SAME_FIELD(ggml_tensor, op_params);
SAME_FIELD(ggml_tensor, flags);
SAME_FIELD(ggml_tensor, src);
SAME_FIELD(ggml_tensor, view_src);
SAME_FIELD(ggml_tensor, view_offs);
SAME_FIELD(ggml_tensor, data);
SAME_FIELD(ggml_tensor, name);
SAME_FIELD(ggml_tensor, extra);
SAME_FIELD(ggml_backend_buffer_type_i, get_name);
SAME_FIELD(ggml_backend_buffer_type_i, alloc_buffer);
SAME_FIELD(ggml_backend_buffer_type_i, noalloc_buffer);
SAME_FIELD(ggml_backend_buffer_type, iface);
SAME_FIELD(ggml_backend_buffer_type, device);
SAME_FIELD(ggml_backend_buffer_type, context);
SAME_FIELD(ggml_backend_buffer_type, no_alloc);
SAME_FIELD(ggml_backend_buffer_i, free_buffer);
SAME_FIELD(ggml_backend_buffer_i, reset);
SAME_FIELD(ggml_backend_buffer, iface);
SAME_FIELD(ggml_backend_buffer, buft);
SAME_FIELD(ggml_backend_buffer, context);
SAME_FIELD(ggml_backend_buffer, size);
SAME_FIELD(ggml_backend_buffer, usage);
SAME_FIELD(ggml_backend_buffer, no_alloc);
SAME_FIELD(ggml_type_traits, type_name);
SAME_FIELD(ggml_type_traits, blck_size);
SAME_FIELD(ggml_type_traits, blck_size_interleave);
SAME_FIELD(ggml_type_traits, type_size);
SAME_FIELD(ggml_type_traits, is_quantized);
SAME_FIELD(ggml_type_traits, to_float);
SAME_FIELD(ggml_type_traits, from_float_ref);

static_assert(std::is_same<ours::ggml_to_float_t, ::ggml_to_float_t>::value, "to_float");
static_assert(std::is_same<ours::ggml_from_float_t, ::ggml_from_float_t>::value, "from_float");
static_assert(std::is_same<ours::ggml_abort_callback, ::ggml_abort_callback>::value, "abort callback");
static_assert(std::is_same<ours::ggml_abort_callback_t, ::ggml_abort_callback_t>::value, "abort callback");
