"""Random numbers from explicit keys: the same key, shape and dtype give the same numbers, on every machine and for any number of threads.

The generator is threefry2x32 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with 20 rounds,
in the layout of JAX's default: element i of an array is made from counter i.  Samplers that follow one formula give JAX's numbers, in bits
or to a few units in the last place; those that reject candidates (gamma and what is made of it, poisson, binomial, multinomial) have the
same distributions.  A key is a uint32 array of shape (2,).
"""

from .continuous import cauchy as cauchy
from .continuous import double_sided_maxwell as double_sided_maxwell
from .continuous import exponential as exponential
from .continuous import gumbel as gumbel
from .continuous import laplace as laplace
from .continuous import logistic as logistic
from .continuous import lognormal as lognormal
from .continuous import maxwell as maxwell
from .continuous import normal as normal
from .continuous import pareto as pareto
from .continuous import rayleigh as rayleigh
from .continuous import triangular as triangular
from .continuous import truncated_normal as truncated_normal
from .continuous import wald as wald
from .continuous import weibull_min as weibull_min
from .counts import binomial as binomial
from .counts import multinomial as multinomial
from .counts import poisson as poisson
from .discrete import bernoulli as bernoulli
from .discrete import categorical as categorical
from .discrete import choice as choice
from .discrete import geometric as geometric
from .discrete import permutation as permutation
from .discrete import rademacher as rademacher
from .gammas import ball as ball
from .gammas import beta as beta
from .gammas import chisquare as chisquare
from .gammas import dirichlet as dirichlet
from .gammas import f as f
from .gammas import gamma as gamma
from .gammas import generalized_normal as generalized_normal
from .gammas import loggamma as loggamma
from .gammas import t as t
from .keys import PRNGKey as PRNGKey
from .keys import clone as clone
from .keys import fold_in as fold_in
from .keys import key as key
from .keys import key_data as key_data
from .keys import key_impl as key_impl
from .keys import split as split
from .keys import wrap_key_data as wrap_key_data
from .structured import multivariate_normal as multivariate_normal
from .structured import orthogonal as orthogonal
from .uniforms import bits as bits
from .uniforms import randint as randint
from .uniforms import uniform as uniform
