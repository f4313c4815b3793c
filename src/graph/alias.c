/*
 * graph/alias - what the planner may do with the operands of an op
 *
 * One place for facts that hold for the kernels of every device; kernels/kernel.h states
 * them for those who write kernels.
 */
#include "src/graph/node.h"

enum { FIRST = 1, SECOND = 2 };

unsigned lx_op__overwritable(const lx_node *node)
{
    int add = lx_op__add_operand(node->op);
    unsigned mask = add >= 0 && node->in[add] ? 1u << add : 0;

    switch (node->op) {
    case LX_OP_silu:
    case LX_OP_gelu:
    case LX_OP_quick_gelu:
    case LX_OP_softmax:
    case LX_OP_scale:
    case LX_OP_dropout:
    case LX_OP_group_norm:
    case LX_OP_layer_norm:
        return FIRST;
    case LX_OP_silu_dx:
    case LX_OP_gelu_dx:
    case LX_OP_quick_gelu_dx:
    case LX_OP_softmax_dx:
        return FIRST | SECOND;
    case LX_OP_group_norm_dx:
    case LX_OP_layer_norm_dx:
        return mask ? mask : FIRST | SECOND;
    case LX_OP_add:
        return lx_tensor__same_shape(node->in[0], node->in[1]) ? FIRST | SECOND : FIRST;
    case LX_OP_mul_add: /* a, x, b, y */
        return 2 | (node->in[3] ? 8 : 0);
    default:
        return mask;
    }
}

int lx_op__add_operand(int op)
{
    switch (op) {
    case LX_OP_conv2d:
    case LX_OP_linear:
        return 3;
    case LX_OP_linear_dx:
        return 2;
    case LX_OP_group_norm_dx:
        return 5;
    case LX_OP_layer_norm_dx:
        return 4;
    default:
        return -1;
    }
}

bool lx_op__is_optional_output(int op, int i)
{
    switch (op) {
    case LX_OP_attention:  /* lse */
    case LX_OP_group_norm: /* stats */
    case LX_OP_layer_norm:
    case LX_OP_loss: /* dpred */
        return i == 1;
    case LX_OP_attention_bwd:
    case LX_OP_norm_dwb:
        return true;
    default:
        return false;
    }
}
