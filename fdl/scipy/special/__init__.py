"""Special functions, under the names of `scipy.special` and `jax.scipy.special`: real, elementwise, differentiable.

Each is computed in float64 and rounded to the dtype of its operands (integers give float32), so that float32 and narrower results are right
to within one unit in the last place; docstrings give the largest error that was seen in float64.  Formulas are from the NIST Digital
Library of Mathematical Functions (DLMF) and the papers named; coefficients of Chebyshev series were computed for this package
(`coefficients`).  In a program each is one equation, with the derivative that mathematics gives it; compiled code has its formula, which
fuses with what is around.

Of `jax.scipy.special`, `hyp2f1` (no formula of good accuracy covers its four parameters), `sph_harm_y` and `wofz` (complex
results) are left out.
"""

from .bessel import bessel_jn as bessel_jn
from .bessel import i0 as i0
from .bessel import i0e as i0e
from .bessel import i1 as i1
from .bessel import i1e as i1e
from .betas import beta as beta
from .betas import betaln as betaln
from .betas import comb as comb
from .betas import multigammaln as multigammaln
from .betas import poch as poch
from .errors import dawsn as dawsn
from .errors import erf as erf
from .errors import erfc as erfc
from .errors import erfcx as erfcx
from .errors import erfinv as erfinv
from .errors import log_ndtr as log_ndtr
from .errors import ndtr as ndtr
from .errors import ndtri as ndtri
from .errors import owens_t as owens_t
from .gammas import digamma as digamma
from .gammas import factorial as factorial
from .gammas import gamma as gamma
from .gammas import gammaln as gammaln
from .gammas import gammasgn as gammasgn
from .gammas import loggamma as loggamma
from .gammas import rgamma as rgamma
from .hypergeometric import hyp1f1 as hyp1f1
from .incomplete import gammainc as gammainc
from .incomplete import gammaincc as gammaincc
from .incomplete_beta import betainc as betainc
from .integrals import exp1 as exp1
from .integrals import expi as expi
from .integrals import expn as expn
from .integrals import fresnel as fresnel
from .integrals import sici as sici
from .logs import boxcox as boxcox
from .logs import boxcox1p as boxcox1p
from .logs import entr as entr
from .logs import expit as expit
from .logs import kl_div as kl_div
from .logs import logit as logit
from .logs import rel_entr as rel_entr
from .logs import xlog1py as xlog1py
from .logs import xlogy as xlogy
from .sums import log_softmax as log_softmax
from .sums import logsumexp as logsumexp
from .sums import softmax as softmax
from .zetas import bernoulli as bernoulli
from .zetas import polygamma as polygamma
from .zetas import spence as spence
from .zetas import zeta as zeta
